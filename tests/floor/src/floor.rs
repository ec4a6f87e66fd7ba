//! The worker and its one class of objects.

use std::cell::Cell;

use worker::{Context, DurableObject, Env, Request, Response, Result, State, durable_object, event};

/// The binding of the one class of objects.
const BINDING: &str = "FLOOR";

/// `/empty`, `/hop` or `/row`.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    match request.path().as_str() {
        "/empty" => Response::empty(),
        path @ ("/hop" | "/row") => {
            let stub = env.durable_object(BINDING)?.get_by_name("floor")?;
            stub.fetch_with_str(&format!("https://floor{path}")).await
        }
        _ => Response::error("", 404),
    }
}

/// The object.
#[durable_object]
#[derive(Debug)]
pub struct Floor {
    state: State,
    /// True once this incarnation has made the table.
    exists: Cell<bool>,
}

impl DurableObject for Floor {
    fn new(state: State, _env: Env) -> Self {
        Self { state, exists: Cell::new(false) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        if request.path() == "/row" {
            let sql = self.state.storage().sql();
            if !self.exists.get() {
                sql.exec("CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, body TEXT NOT NULL)", None)?;
                self.exists.set(true);
            }
            // As long as an order's.
            sql.exec("INSERT INTO row (body) VALUES (?)", vec!["x".repeat(500).into()])?;
        }
        Response::empty()
    }
}
