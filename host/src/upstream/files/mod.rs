//! stub
use std::sync::Arc;
use serde_json::value::RawValue;
use crate::ids::UpstreamName;
use crate::tool::ToolOutput;
use crate::upstream::catalog::Catalog;
use crate::upstream::error::Cause;
use crate::upstream::settings::FilesRoot;
pub(super) struct Files;
impl Files {
    pub(super) fn open(_: &UpstreamName, _: &[FilesRoot]) -> Result<Self, Cause> { Err(Cause::new("x")) }
    pub(super) fn catalog(&self) -> Arc<Catalog> { todo!() }
    pub(super) async fn call(&self, _: &str, _: &RawValue) -> ToolOutput { todo!() }
}
