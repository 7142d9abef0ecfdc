use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MethodDescriptor};

use crate::proto::DESCRIPTORS;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS).expect("the build wrote what the code was made from")
});

/// A method of the API, by `<package>.<Service>/<Method>`.
pub(super) fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, name) = path.rsplit_once('/')?;
    let service = POOL.get_service_by_name(service)?;
    service.methods().find(|method| method.name() == name)
}

/// All services, those between members too.
#[cfg(test)]
pub(super) fn services() -> impl Iterator<Item = prost_reflect::ServiceDescriptor> {
    POOL.services()
}
