mod bindings {
    wit_bindgen::generate!({
        path: ["../../guest-sdk/wit", "wit"],
        world: "toolcell:js-runtime/script",
        generate_all,
    });
    use super::Component;
    export!(Component);
}
use bindings::exports::toolcell::guest::script::*;
use rquickjs::{Context, Runtime, context::EvalOptions, Value};

struct Component;
struct Engine { _runtime: Runtime, context: Context }
static mut ENGINE: Option<Engine> = None;

#[unsafe(no_mangle)]
extern "C" fn __rquickjs_host_now_us() -> f64 { 0.0 }

#[unsafe(export_name = "wizer-initialize")]
extern "C" fn init() {
    let runtime = Runtime::new().unwrap();
    let context = Context::full(&runtime).unwrap();
    unsafe { ENGINE = Some(Engine { _runtime: runtime, context }) }
}

impl Guest for Component {
    fn run(program: Program) -> Result<Option<String>, Failure> {
        #[allow(static_mut_refs)]
        let engine = unsafe { ENGINE.as_ref().unwrap() };
        engine.context.with(|ctx| {
            let mut options = EvalOptions::default();
            options.filename = Some(program.name.clone());
            match ctx.eval_with_options::<Value, _>(program.source, options) {
                Ok(value) => Ok(ctx.json_stringify(value).unwrap().map(|text| text.to_string().unwrap())),
                Err(_) => Err(Failure::Value(format!("{:?}", ctx.catch()))),
            }
        })
    }
    fn run_kept(program: Program) -> Result<Option<String>, Failure> { Self::run(program) }
}
