//! `--warm`: the start of a program, in the place of its guests.

use tinyhost::serve::MakeNamespace;
use tinyhost::wasi::{BadString, CtxBuilder, Strings};
use tinyhost::{Program, ProgramConfig, WarmUp, Warmth, WasiCtx};

use super::failure::{CliResult, Failure};
use super::load::load_as;

/// Changes the context of a start as that of each guest is changed.
type Prepare = Box<dyn Fn(CtxBuilder) -> CtxBuilder + Send + Sync>;

/// What the start of a program is given: the same as its guests, as far as no client matters.
pub struct Start {
    warm_up: WarmUp,
    args: Strings,
    env: Strings,
    namespace: MakeNamespace,
    prepare: Option<Prepare>,
    memory: usize,
    max_fds: usize,
}

/// How a program is to be started, if `--warm` was typed.
///
/// # Errors
///
/// For `--call` without it.
pub fn wanted(
    warm: bool,
    call: Option<String>,
    config: &ProgramConfig,
) -> CliResult<Option<WarmUp>> {
    match (call, warm) {
        (Some(_), false) => {
            Err(Failure::usage("--call names what is called of a warm program: add --warm"))
        }
        (_, false) => Ok(None),
        (call, true) => Ok(Some(WarmUp { config: config.clone(), call, ..WarmUp::default() })),
    }
}

/// Reports what the start of a program has written to standard error, and why it stays cold.
pub fn report(program: &Program, name: &str) {
    match program.warmth() {
        Some(Warmth::Warm(warm)) => {
            for line in String::from_utf8_lossy(&warm.stderr).lines() {
                log::info!("{name}: {line}");
            }
        }
        Some(Warmth::Cold(why)) => log::warn!("{name}: stays cold: {why}"),
        None => {}
    }
}

impl Start {
    /// The start of a program of this name.
    ///
    /// # Errors
    ///
    /// For a text with a NUL.
    pub fn new(
        warm_up: WarmUp,
        name: &str,
        args: &[String],
        env: &[(String, String)],
        namespace: MakeNamespace,
    ) -> CliResult<Start> {
        let bad = |error: BadString| Failure::usage(error.to_string());
        let mut arguments = Strings::default();
        let mut variables = Strings::default();
        for arg in [name].into_iter().chain(args.iter().map(String::as_str)) {
            arguments.push(&[arg.as_bytes()]).map_err(bad)?;
        }
        for (name, value) in env {
            variables.push(&[name.as_bytes(), b"=", value.as_bytes()]).map_err(bad)?;
        }
        Ok(Start {
            warm_up,
            args: arguments,
            env: variables,
            namespace,
            prepare: None,
            memory: usize::MAX,
            max_fds: usize::MAX,
        })
    }

    /// With the limits of a guest.
    pub fn limited(self, memory: usize, max_fds: usize) -> Start {
        Start { memory, max_fds, ..self }
    }

    /// With what is done to the context of each guest.
    pub fn prepared(
        self,
        prepare: impl Fn(CtxBuilder) -> CtxBuilder + Send + Sync + 'static,
    ) -> Start {
        Start { prepare: Some(Box::new(prepare)), ..self }
    }

    fn context(&self) -> CtxBuilder {
        let builder = WasiCtx::builder()
            .args(self.args.clone())
            .envs(self.env.clone())
            .namespace((self.namespace)())
            .memory_max(self.memory)
            .fds_max(self.max_fds);
        match &self.prepare {
            Some(prepare) => prepare(builder),
            None => builder,
        }
    }

    /// Reads a program and starts it. Without a path it is the one that is `built_in`.
    ///
    /// # Errors
    ///
    /// As [`load`](super::load::load).
    pub fn load(&self, path: Option<&str>, built_in: &[u8]) -> CliResult<Program> {
        let warm = |wasm: &[u8]| Program::warm(&self.warm_up, wasm, &|| self.context());
        match path {
            Some(path) => load_as(path, |wasm| warm(&wasm)),
            None => warm(built_in).map_err(Failure::not_started),
        }
    }
}
