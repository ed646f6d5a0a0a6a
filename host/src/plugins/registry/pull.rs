//! Fetching a plugin.

use super::wire::{Wanted, Wire};
use super::{
    About, MAX_WASM_BYTES, PluginReference, Progress, PullOptions, Pulled, Registry, RegistryError,
    artifact, referrers,
};
use crate::plugins::signature::keep;

impl Registry {
    /// Fetches a plugin whole: what comes back was compared with every digest and size on the way,
    /// and with the signature that was asked for. Writes nothing. Cancel-safe.
    ///
    /// # Errors
    /// See [`RegistryError`]; each way in which a registry can fail or lie has its own.
    pub async fn pull(
        &self,
        reference: &PluginReference,
        options: &PullOptions<'_>,
    ) -> Result<Pulled, RegistryError> {
        self.bounded(reference, self.fetch(reference, options)).await
    }

    /// The digest that a name has now, without its content.
    ///
    /// # Errors
    /// As [`Registry::pull`].
    pub async fn resolve(&self, reference: &PluginReference) -> Result<String, RegistryError> {
        self.bounded(reference, async {
            let wire = self.wire(reference).await?;
            let fetched = artifact::fetch(&wire, reference, reference.target()).await?;
            Ok(fetched.ok_or_else(|| wire.not_found())?.digest)
        })
        .await
    }

    async fn fetch(
        &self,
        reference: &PluginReference,
        options: &PullOptions<'_>,
    ) -> Result<Pulled, RegistryError> {
        let max_bytes = options.max_wasm_bytes.unwrap_or(MAX_WASM_BYTES).min(MAX_WASM_BYTES);
        let wire = self.wire(reference).await?;
        let fetched = artifact::fetch(&wire, reference, reference.target()).await?;
        let fetched = fetched.ok_or_else(|| wire.not_found())?;
        if let Some(locked) = options.locked
            && locked != fetched.digest
        {
            return Err(RegistryError::Moved {
                reference: reference.to_string(),
                locked: locked.to_owned(),
                found: fetched.digest,
            });
        }
        let (layer, size) = artifact::wasm_layer(&fetched.manifest, reference, max_bytes)?;
        let manifest = artifact::plugin_manifest(&fetched.manifest, reference)?;
        let mut signature = None;
        if let Some(key) = options.signed_by {
            let proof = referrers::verify(&wire, reference, &fetched.digest, key).await?;
            signature = Some(keep(&fetched.bytes, &proof));
        }
        let answer = wire.get(&format!("blobs/{}", layer.digest), "*/*").await?;
        let answer = answer.ok_or_else(|| {
            wire.protocol("it has the plugin's OCI manifest and not its layer".to_owned())
        })?;
        let wanted = Wanted {
            what: "the component",
            max_bytes,
            size: Some(size),
            digest: Some(&layer.digest),
        };
        let wasm = wire.read(answer, wanted, |received_bytes| {
            if let Some(progress) = &options.progress {
                progress(Progress { received_bytes, total_bytes: size });
            }
        });
        let wasm = wasm.await?;
        let about = About::of(&fetched.manifest);
        Ok(Pulled { wasm, manifest, digest: fetched.digest, signature, about })
    }

    /// A conversation, unless that would be in the clear without anybody's leave.
    pub(super) async fn wire<'a>(
        &'a self,
        reference: &'a PluginReference,
    ) -> Result<Wire<'a>, RegistryError> {
        let mut wire = Wire::new(self, reference)?;
        wire.settle().await;
        Ok(wire)
    }

    /// Within the time for everything, and until somebody cancels.
    pub(super) async fn bounded<T>(
        &self,
        reference: &PluginReference,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let after = self.deadlines.whole;
        let work = tokio::time::timeout(after, work);
        match self.cancel.run_until_cancelled(work).await {
            None => Err(RegistryError::Cancelled),
            Some(Err(_)) => Err(RegistryError::TooSlow { reference: reference.to_string(), after }),
            Some(Ok(done)) => done,
        }
    }
}
