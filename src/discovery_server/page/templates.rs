//! The HTML. askama escapes every value that is not marked `safe`, and only the layout marks one: the
//! content, which comes from another template here.

use askama::Template;

use super::state::Shown;

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex, nofollow">
<title>{{ title }}</title>
<link rel="icon" type="image/svg+xml" href="{{ base }}/assets/{{ mark }}">
<link rel="stylesheet" href="{{ base }}/assets/{{ style }}">
{%- if let Some(seconds) = refresh %}
<noscript><meta http-equiv="refresh" content="{{ seconds }}"></noscript>
{%- endif %}
<script src="{{ base }}/assets/{{ script }}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="{{ base }}/"><img src="{{ base }}/assets/{{ mark }}" alt="" width="22" height="22">Quorate</a>
<span class="what">cluster discovery</span>
</header>
{{ content|safe }}
<footer>
<p>quorate {{ version }} · <a href="{{ base }}/health">health</a> · <a href="{{ base }}/metrics">metrics</a></p>
</footer>
</body>
</html>
"##
)]
pub(super) struct Layout<'a> {
    pub(super) title: &'a str,
    pub(super) base: &'a str,
    pub(super) style: &'a str,
    pub(super) script: &'a str,
    pub(super) mark: &'a str,
    pub(super) refresh: Option<u32>,
    pub(super) content: &'a str,
    pub(super) version: &'a str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<main id="main">
<h1>Bring a cluster together</h1>
<p class="lead">This service introduces the first members of an etcd or quorate cluster to each other. It is asked once, when a cluster is born, and never again.</p>
{%- if let Some(wrong) = wrong %}
<p class="alert" role="alert">{{ wrong }}</p>
{%- endif %}
{%- if needs_key %}
<p>This service gives tokens to those who have a key: <code>curl -H "Authorization: Bearer KEY" "{{ url }}/new?size=3"</code></p>
{%- endif %}
<form class="card" method="post" action="{{ base }}/new">
<h2>A new token</h2>
<div class="fields">
<p><label for="size">Members</label>
<input id="size" name="size" type="number" inputmode="numeric" min="1" max="{{ max }}" value="{{ size }}" required aria-describedby="size-hint">
<span class="hint" id="size-hint">1 to {{ max }}; odd numbers survive most</span></p>
<p><label for="name">Name <span class="optional">optional</span></label>
<input id="name" name="name" type="text" maxlength="63" pattern="[a-z0-9]([a-z0-9\-]*[a-z0-9])?" value="{{ name }}" placeholder="prod" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="name-hint">
<span class="hint" id="name-hint">lower-case letters, digits, hyphens</span></p>
<p><label for="ttl">Waits for <span class="optional">optional</span></label>
<input id="ttl" name="ttl" type="text" maxlength="16" value="{{ ttl }}" placeholder="24h" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="ttl-hint">
<span class="hint" id="ttl-hint">such as 30m, 24h or 7d</span></p>
</div>
<p class="actions"><button type="submit">Make a token</button></p>
</form>
<section aria-labelledby="shell">
<h2 id="shell">From a shell</h2>
<pre data-copy><code>curl '{{ url }}/new?size=3'</code></pre>
<p>It prints a discovery URL. Start every member with it, spelled exactly as it was printed:</p>
<pre data-copy><code>etcd --name n1 --initial-advertise-peer-urls http://10.0.0.1:2380 ... --discovery {{ url }}/TOKEN</code></pre>
<p>When all have registered, read the member list:</p>
<pre data-copy><code>curl {{ url }}/TOKEN/initial-cluster</code></pre>
<p class="note">A token is a secret: whoever knows it can join. It is good for one cluster.</p>
</section>
</main>"##
)]
pub(super) struct Start<'a> {
    pub(super) url: &'a str,
    pub(super) base: &'a str,
    pub(super) max: u32,
    pub(super) size: String,
    pub(super) name: &'a str,
    pub(super) ttl: &'a str,
    pub(super) needs_key: bool,
    pub(super) wrong: Option<&'a str>,
}

/// The same for curl.
#[derive(Template)]
#[template(
    ext = "txt",
    source = r#"Quorate {{ version }}: cluster discovery

This service introduces the first members of an etcd or quorate cluster to each other.

Make a token for a cluster of three (1 to {{ max }}):
  curl '{{ url }}/new?size=3'
Start every member with the URL you got, exactly as it is spelled:
  etcd --name n1 --initial-advertise-peer-urls http://10.0.0.1:2380 ... --discovery {{ url }}/TOKEN
When all have registered, read the member list:
  curl {{ url }}/TOKEN/initial-cluster

A token is a secret: whoever knows it can join. It is good for one cluster.
A browser shows this page with a form, and the page of a token with who is in.
"#
)]
pub(super) struct StartText<'a> {
    pub(super) url: &'a str,
    pub(super) max: u32,
    pub(super) version: &'a str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<main id="main" class="nothing">
<h1>Nothing here</h1>
<p class="lead">No token lives at this address. It may never have been made, its time may be over, or a letter of the address is missing.</p>
<p>Running clusters are not affected: members ask this service once, when their cluster is born.</p>
<p><a class="button" href="{{ base }}/">Make a new token</a></p>
</main>"##
)]
pub(super) struct Nothing<'a> {
    pub(super) base: &'a str,
}

/// What never changes, around what does.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<main id="main" data-events="{{ shown.events }}">
<p class="visually-hidden" id="live" role="status" aria-live="polite"></p>
<div id="state">{{ self.changing()|safe }}</div>
</main>"##
)]
pub(super) struct Page<'a> {
    pub(super) shown: &'a Shown,
}

impl Page<'_> {
    fn changing(&self) -> String {
        super::rendered(&Changing { shown: self.shown })
    }
}

/// What events bring anew.
#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<section class="hero {% if shown.is_full() %}full{% else %}open{% endif %}" data-summary="{{ shown.summary() }}" data-title="{{ shown.title() }}" aria-labelledby="name">
<h1 id="name">{{ shown.name }}</h1>
<p class="badge">{% if shown.is_full() %}Complete{% else %}Waiting{% endif %}</p>
<p class="count"><strong>{{ shown.have }}</strong> of {{ shown.size }} members</p>
<ul class="dots" aria-hidden="true">
{%- for _ in shown.members %}<li class="in"></li>{% endfor %}{% for _ in shown.missing %}<li></li>{% endfor -%}
</ul>
<p class="left">{% if shown.is_full() %}Kept for another{% else %}Open for another{% endif %} <time datetime="{{ shown.expires.iso }}" data-left="{{ shown.left_seconds }}">{{ shown.left }}</time> <span class="until">until {{ shown.expires.text }}</span></p>
</section>
<section aria-labelledby="members">
<h2 id="members">Members</h2>
<table class="members">
<thead><tr><th scope="col">Name</th><th scope="col">Member ID</th><th scope="col">Peer URLs</th><th scope="col">Since</th><th scope="col">From</th></tr></thead>
<tbody>
{%- for member in shown.members %}
<tr><th scope="row" class="name">{{ member.name }}</th><td data-label="Member ID"><code>{{ member.id }}</code></td><td data-label="Peer URLs">{% for url in member.urls %}<code>{{ url }}</code> {% endfor %}</td><td data-label="Since"><time datetime="{{ member.since.iso }}">{{ member.since.text }}</time></td><td data-label="From">{% if let Some(from) = member.from %}<code>{{ from }}</code>{% else %}not known{% endif %}</td></tr>
{%- endfor %}
{%- for place in shown.missing %}
<tr class="missing"><td colspan="5">Member {{ place }} of {{ shown.size }} is missing</td></tr>
{%- endfor %}
</tbody>
</table>
<dl class="facts">
<div><dt>Cluster ID</dt><dd>{% if let Some(id) = shown.cluster_id %}<code>{{ id }}</code>{% else %}known when all are in{% endif %}</dd></div>
<div><dt>Public ID</dt><dd><code>{{ shown.id }}</code></dd></div>
{%- if let Some(flag) = shown.protocol %}
<div><dt>Joined with</dt><dd><code>{{ flag }}</code></dd></div>
{%- endif %}
</dl>
</section>
{%- if !shown.refusals.is_empty() %}
<section class="refusals" aria-labelledby="refused">
<h2 id="refused">Refused</h2>
<ul>
{%- for turned in shown.refusals %}
<li><p class="which"><strong>{{ turned.code }}</strong> <code>{{ turned.id }}</code>{% if let Some(from) = turned.from %} from <code>{{ from }}</code>{% endif %}, <time datetime="{{ turned.at.iso }}">{{ turned.at.text }}</time>{% if turned.times > 1 %}, {{ turned.times }} times{% endif %}</p>
<p class="cure">{{ turned.text }}</p></li>
{%- endfor %}
</ul>
</section>
{%- endif %}
{%- if !shown.late.is_empty() %}
<section aria-labelledby="late">
<h2 id="late">Came too late</h2>
<p>The cluster was complete when these nodes came. They are not members.</p>
<ul class="late">
{%- for member in shown.late %}
<li><strong>{{ member.name }}</strong> {% for url in member.urls %}<code>{{ url }}</code> {% endfor %}</li>
{%- endfor %}
</ul>
</section>
{%- endif %}
{%- if let Some(join) = shown.join %}
<section aria-labelledby="next">
{%- if let Some(list) = join.list %}
<h2 id="next">The member list</h2>
<p>The members know each other now and will not ask again. The same cluster as a static list, for <code>--initial-cluster</code>:</p>
<pre data-copy><code>{{ list }}</code></pre>
{%- else %}
<h2 id="next">Start a missing member</h2>
<p>On each machine, with a name and an address of its own. The URL must be spelled as it is here.</p>
{%- for command in join.commands %}
<details id="start-{{ command.key }}"{% if loop.first %} open{% endif %}>
<summary>{{ command.title }}</summary>
{%- match command.text %}{% when Ok(text) %}
<pre data-copy><code>{{ text }}</code></pre>
{%- when Err(reason) %}
<p>{{ reason }}</p>
{%- endmatch %}
</details>
{%- endfor %}
{%- endif %}
<p class="formats">Member list as <a href="{{ join.list_url }}">text</a>, <a href="{{ join.list_url }}?format=flags">flags</a>, <a href="{{ join.list_url }}?format=env">environment</a>, <a href="{{ join.list_url }}?format=yaml">YAML</a>, <a href="{{ join.list_url }}?format=json">JSON</a></p>
</section>
<section class="share" aria-labelledby="share">
<h2 id="share">Show it to others</h2>
<p>Whoever knows the address of this page can join the cluster. This one is for looking only:</p>
<pre data-copy><code>{{ shown.view_url }}</code></pre>
</section>
{%- endif %}
"##
)]
pub(super) struct Changing<'a> {
    pub(super) shown: &'a Shown,
}
