//! How the instances of a script engine begin: as an empty script leaves them, without running one.

use wasmtime::Store;

use super::access::Access;
use super::guest::Guest;
use super::outcome::Exit;
use super::said::{Failure, log_written};
use super::script::{INTERPRETER, Instance, Runtime, ScriptEngine, exit_of, run, runtime_of};
use super::snapshot::{Base, Delta, Image};
use super::touch::{Places, Touch};

/// How an instance begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Nothing runs in it.
    Fresh,
    /// It runs an empty script.
    Run,
    /// It opens its streams alone.
    Open,
    /// And gets the memory that an empty script would have left.
    Restore,
}

/// What instances are made ready with.
#[derive(Default)]
pub(super) struct Beginning {
    /// What an instance that opened its streams lacks, where that takes the place of an empty script.
    start: Option<Delta>,
    /// What is written into a fresh instance before anything is read in it.
    touch: Option<Touch>,
}

impl ScriptEngine {
    /// Looks at instances that began in each way, so that those to come begin in the shortest, and keeps what all of them hold.
    ///
    /// # Errors
    /// Where they are not alike, so that no state could be kept of them.
    pub(super) async fn learn(&mut self) -> wasmtime::Result<()> {
        let ready = self.look(Begin::Run, async |access, store| {
            Image::of(access, store).await
        });
        let ready = ready.await?;
        if !self.is_alike(Begin::Run, &ready).await? {
            return Err(wasmtime::Error::msg(
                "two instances of it that were made ready in the same way differ, so that no state can be kept of what it exports as `runtime`",
            ));
        }
        let start = self.look(Begin::Open, async |access, store| {
            Delta::towards(&ready, access, store).await
        });
        let start = start.await?;
        let places = self.places(&start).await?;
        let touch = self.look(Begin::Fresh, async |access, store| {
            Touch::of(&places, access, store).await
        });
        self.beginning.touch = Some(touch.await?);
        self.beginning.start = Some(start);
        if !self.is_alike(Begin::Restore, &ready).await? {
            tracing::warn!(
                "an instance of it that was made ready by writing its memory differs from one that ran, so that each one runs"
            );
            self.beginning = Beginning::default();
        }
        self.base = Some(Base::new(ready));
        Ok(())
    }

    /// The pages that an instance has written to when a script has run in it.
    async fn places(&self, start: &Delta) -> wasmtime::Result<Places> {
        let mut instance = self.begun(Begin::Run).await.map_err(unmade)?;
        // However it ends.
        let _ = run(&mut instance, self.language.sample(), &[]).await;
        see(instance, async |access, store| {
            Touch::places(start, access, store).await
        })
        .await
    }

    /// An instance that is as an empty script leaves it: that is most of what a short script costs.
    pub(super) async fn make(&self) -> Result<Instance, Failure> {
        let begin = match self.beginning.start {
            Some(_) => Begin::Restore,
            None => Begin::Run,
        };
        self.begun(begin).await
    }

    async fn is_alike(&self, begin: Begin, image: &Image) -> wasmtime::Result<bool> {
        self.look(begin, async |access, store| {
            image.is_of(access, store).await
        })
        .await
    }

    /// Looks at what an instance that began in this way holds.
    async fn look<T>(
        &self,
        begin: Begin,
        look: impl AsyncFnOnce(&Access, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        see(self.begun(begin).await.map_err(unmade)?, look).await
    }

    /// An instance that has begun. What it prints is the engine's own; of scripts nothing is logged.
    async fn begun(&self, begin: Begin) -> Result<Instance, Failure> {
        let mut instance = self.instantiate().await?;
        let made = match begin {
            Begin::Fresh => Ok(()),
            Begin::Run => match run(&mut instance, "", &[]).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(exit_of(error, &instance.sandbox).into()),
                Err(exit) => Err(exit.into()),
            },
            Begin::Open | Begin::Restore => {
                let Beginning { start, touch } = &self.beginning;
                instance
                    .call(async |exports, store| {
                        let Runtime { calls, access } = runtime_of(exports)?;
                        if let Some(touch) = touch {
                            touch.write(access, store).await?;
                        }
                        calls.call_open_streams(&mut *store).await?;
                        match start.as_ref().filter(|_| begin == Begin::Restore) {
                            Some(start) => start.restore(access, store).await,
                            None => Ok(()),
                        }
                    })
                    .await
                    .map_err(Failure::from)
            }
        };
        log_written(INTERPRETER, &instance.sandbox.written());
        self.awaken(&mut instance);
        made.map(|()| instance)
    }
}

/// Looks at what an instance holds, which then has its end.
async fn see<T>(
    mut instance: Instance,
    look: impl AsyncFnOnce(&Access, &mut Store<Guest>) -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    let seen = instance
        .call(async |exports, store| look(&runtime_of(exports)?.access, store).await)
        .await;
    drop(instance.sandbox.finish(Exit::Ok));
    seen.map_err(|exit| unmade(exit.into()))
}

fn unmade(failure: Failure) -> wasmtime::Error {
    wasmtime::Error::msg(failure.explained())
}
