//! Zone files that come, change, break and go while the server runs.

use super::*;

const HEAD: &str = "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n";

fn zone(serial: u32, more: &str) -> String {
    format!("{}{more}\n", HEAD.replace("hostmaster 1", &format!("hostmaster {serial}")))
}

#[test]
fn zones_follow_their_files() {
    let service = Service::start(&[("a.test.zone", &zone(1, "x A 10.0.0.2"))]);
    let x = || service.data("x.a.test.", RecordType::A);
    assert_eq!(x(), ["10.0.0.2"]);

    std::fs::write(service.path("a.test.zone"), zone(2, "x A 10.0.0.33")).unwrap();
    eventually("the changed zone is served", || x() == ["10.0.0.33"]);

    std::fs::write(service.path("b.test.zone"), zone(1, "x A 10.0.0.4")).unwrap();
    eventually("the new zone is served", || {
        service.data("x.b.test.", RecordType::A) == ["10.0.0.4"]
    });

    // A broken file changes nothing: the next zone is read, this one stays as it was.
    std::fs::write(service.path("a.test.zone"), zone(3, "x A nonsense")).unwrap();
    std::fs::write(service.path("c.test.zone"), zone(1, "x A 10.0.0.5")).unwrap();
    eventually("the third zone is served", || {
        service.data("x.c.test.", RecordType::A) == ["10.0.0.5"]
    });
    assert_eq!(x(), ["10.0.0.33"]);

    std::fs::write(service.path("a.test.zone"), zone(4, "x A 10.0.0.6")).unwrap();
    eventually("the mended zone is served", || x() == ["10.0.0.6"]);

    std::fs::remove_file(service.path("b.test.zone")).unwrap();
    eventually("the removed zone is refused", || {
        service.ask("x.b.test.", RecordType::A).response_code == ResponseCode::Refused
    });
}

#[test]
fn the_nearest_zone_answers() {
    let service = Service::start(&[
        ("test.zone", &zone(1, "x.a A 10.0.0.2\nx.b A 10.0.0.3")),
        ("a.test.zone", &zone(1, "x A 10.0.0.4")),
    ]);
    assert_eq!(service.data("x.A.test.", RecordType::A), ["10.0.0.4"]);
    assert_eq!(service.data("x.b.TEST.", RecordType::A), ["10.0.0.3"]);
    assert_eq!(service.ask("x.aa.test.", RecordType::A).response_code, ResponseCode::NXDomain);
    assert_eq!(service.ask("test2.", RecordType::A).response_code, ResponseCode::Refused);
}

#[test]
fn all_bad_files_are_reported_at_the_start() {
    let zones = TempDir::new().unwrap();
    let write = |file: &str, text: &str| std::fs::write(zones.path().join(file), text).unwrap();
    write("a.test.zone", &zone(1, "x A nonsense"));
    write("b.test.zone", "$TTL 60\nx A 10.0.0.1\n");
    write("c.test.zone", &zone(1, ""));
    write("d.test.zone", &format!("$ORIGIN c.test.\n{HEAD}"));
    write("..zone", HEAD);
    write("not a zone.txt", "nonsense");
    write("e..f.zone", HEAD);
    let errors = Catalog::load(zones.path()).unwrap_err();
    let place = zones.path().display().to_string();
    let texts: Vec<String> =
        errors.iter().map(|error| error.to_string().replace(&place, "DIR")).collect();
    assert_eq!(
        texts,
        [
            "zone file `DIR/a.test.zone`, line 5, column 5: expected an IPv4 address, found `nonsense`",
            "zone file `DIR/b.test.zone`: the zone has no SOA record",
            "zone file `DIR/d.test.zone`: zone `c.test.` is in `DIR/c.test.zone` already",
            "zone file `DIR/e..f.zone`: the name of the file is no domain name followed by `.zone`",
        ]
    );
}

#[test]
fn warnings_name_file_and_line_and_the_zone_is_served() {
    let zones = TempDir::new().unwrap();
    std::fs::write(zones.path().join("a.test.zone"), zone(1, "s SRV 0 0 80 nowhere")).unwrap();
    let (catalog, warnings) = Catalog::load(zones.path()).unwrap();
    let place = zones.path().display().to_string();
    let texts: Vec<String> =
        warnings.iter().map(|warning| warning.to_string().replace(&place, "DIR")).collect();
    let expected = [
        "zone file `DIR/a.test.zone`, line 5: SRV target `nowhere.a.test.` has no address in this zone",
    ];
    assert_eq!(texts, expected);
    assert_eq!(catalog.zones().len(), 1);
}

#[test]
fn a_missing_directory_holds_no_zones_and_may_come() {
    let parent = TempDir::new().unwrap();
    let zones = parent.path().join("zones");
    let (catalog, _) = Catalog::load(&zones).unwrap();
    let served = || catalog.find(&Name::from_ascii("x.a.test.").unwrap()).is_some();
    assert!(!served());
    std::fs::create_dir(&zones).unwrap();
    std::fs::write(zones.join("a.test.zone"), HEAD).unwrap();
    catalog.refresh();
    catalog.refresh();
    assert!(served());
    // A directory that is gone, as a lost mount is, takes no zone with it.
    std::fs::remove_dir_all(&zones).unwrap();
    catalog.refresh();
    catalog.refresh();
    assert!(served());
}

/// Others are answered all the time while a large zone is exchanged, first by the old one.
#[test]
fn nobody_waits_while_a_large_zone_changes() {
    let hosts: String =
        (0..5_000).map(|n| format!("h{n} A 10.7.{}.{}\n", n / 250, n % 250)).collect();
    let service =
        Service::start(&[("host.test.zone", &zone(1, &format!("n A 10.0.0.1\n{hosts}")))]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (begun, first) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (service, stop) = (&service, &stop);
        let asking = scope.spawn(move || {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
            socket.connect(service.address).unwrap();
            // No second attempt: a question that is lost fails the test.
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            let packet = question("n.host.test.", RecordType::A).to_vec().unwrap();
            let mut seen = Vec::new();
            loop {
                // Asked once more after the change is known to be served.
                let last = stop.load(std::sync::atomic::Ordering::Relaxed);
                socket.send(&packet).unwrap();
                let mut reply = [0; 512];
                let length = socket.recv(&mut reply).expect("every question is answered");
                let reply = Message::from_vec(&reply[..length]).unwrap();
                let data = reply.answers[0].data.to_string();
                if seen.last() != Some(&data) {
                    seen.push(data);
                    begun.send(()).unwrap();
                }
                if last {
                    return seen;
                }
            }
        });
        first.recv().unwrap();
        let text = zone(2, &format!("n A 10.0.0.2\n{hosts}"));
        std::fs::write(service.path("host.test.zone"), text).unwrap();
        eventually("the changed zone is served", || {
            service.data("n.host.test.", RecordType::A) == ["10.0.0.2"]
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(asking.join().unwrap(), ["10.0.0.1", "10.0.0.2"]);
    });
}
