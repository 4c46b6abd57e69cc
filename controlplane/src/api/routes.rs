//! The table of routes.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use super::{openapi, read, value_of};
use crate::keys::Permission;
use crate::plane::{Caller, Plane};
use crate::refusal::{Code, Refusal};
use crate::registry::Body;
use crate::rollout::Revision;
use crate::wire::{
    Artifacts, AuditLog, AuditVerdict, Document, Done, Heartbeat, KeyRequest, Keys, NewKey, Published, Pulse, Quotas,
    Registered, Registration, RerouteRequest, RolloutStep, Rollouts, Route as SessionRoute, RouteRequest,
    SessionReport, SessionStory, Sessions, TenantQuota, View, Workers,
};

/// How something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// To look.
    Get,
    /// To have something done.
    Post,
    /// To have something be so.
    Put,
    /// To have something gone.
    Delete,
}

impl Method {
    /// As HTTP has it.
    pub fn name(self) -> &'static str {
        match self {
            Get => "GET",
            Post => "POST",
            Put => "PUT",
            Delete => "DELETE",
        }
    }
}

/// What it needs to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A session's secret, in the body.
    Secret,
    /// A key whose role may do this.
    Key(Permission),
}

/// Somebody asks.
pub struct Call<'a> {
    /// Who.
    pub who: &'a Caller,
    /// What stands in the path and in the query.
    pub params: &'a BTreeMap<String, String>,
    /// What came along.
    pub body: &'a [u8],
}

impl Call<'_> {
    fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
}

/// What a route does.
#[derive(Clone, Copy)]
pub enum Handle {
    /// This.
    Do(fn(&Plane, &Call<'_>) -> Result<Value, Refusal>),
    /// It waits for a newer view.
    AwaitView,
}

/// Tells of what form something is.
pub type Form = fn(&mut SchemaGenerator) -> Schema;

/// One route.
pub struct Route {
    /// How it is asked.
    pub method: Method,
    /// Where.
    pub path: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// Who may.
    pub needs: Needs,
    /// What the query may say.
    pub query: &'static [(&'static str, &'static str)],
    /// What it takes.
    pub takes: Option<Form>,
    /// What it gives.
    pub gives: Form,
    /// What it does.
    pub handle: Handle,
}

fn form<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn give<T: Serialize>(answer: Result<T, Refusal>) -> Result<Value, Refusal> {
    answer.map(|answer| value_of(&answer))
}

type Does = fn(&Plane, &Call<'_>) -> Result<Value, Refusal>;

const fn get(path: &'static str, may: Permission, summary: &'static str, gives: Form, handle: Does) -> Route {
    let (method, needs, handle) = (Get, Needs::Key(may), Handle::Do(handle));
    Route { method, path, summary, needs, query: &[], takes: None, gives, handle }
}

const fn act(
    (method, path): (Method, &'static str),
    may: Permission,
    summary: &'static str,
    (takes, gives): (Option<Form>, Form),
    handle: Does,
) -> Route {
    let (needs, handle) = (Needs::Key(may), Handle::Do(handle));
    Route { method, path, summary, needs, query: &[], takes, gives, handle }
}

const fn open(path: &'static str, summary: &'static str, handle: Does) -> Route {
    let (method, needs, gives, handle) = (Get, Needs::Nothing, form::<Value> as Form, Handle::Do(handle));
    Route { method, path, summary, needs, query: &[], takes: None, gives, handle }
}

use Method::{Delete, Get, Post, Put};
use Permission::{Administer, Audit, Look, Operate, Publish, Work};

/// All routes.
pub const ROUTES: &[Route] = &[
    open("/healthz", "Whether the process works.", |_, _| Ok(serde_json::json!({"healthy": true}))),
    open("/readyz", "Whether its store answers.", |plane, _| {
        plane.view().map(|view| serde_json::json!({"ready": true, "view_version": view.version}))
    }),
    open("/openapi.json", "This document.", |_, _| Ok(openapi())),
    get("/v1/artifacts", Look, "All published documents.", form::<Artifacts>, |plane, _| give(plane.artifacts())),
    act(
        (Post, "/v1/artifacts"),
        Publish,
        "Publish a document, once and for all.",
        (Some(form::<Body>), form::<Published>),
        |plane, call| give(plane.publish(call.who, &read(call.body)?)),
    ),
    get("/v1/artifacts/{digest}", Look, "A published document.", form::<Document>, |plane, call| {
        give(plane.document(call.param("digest")))
    }),
    get("/v1/rollouts", Look, "The newest state of each rollout.", form::<Rollouts>, |plane, _| give(plane.rollouts())),
    act(
        (Post, "/v1/rollouts"),
        Publish,
        "Take a step of a rollout.",
        (Some(form::<RolloutStep>), form::<Revision>),
        |plane, call| give(plane.roll_out(call.who, &read(call.body)?)),
    ),
    get("/v1/workers", Look, "All workers.", form::<Workers>, |plane, _| give(plane.workers())),
    act(
        (Put, "/v1/workers/{worker}"),
        Work,
        "A worker begins.",
        (Some(form::<Registration>), form::<Registered>),
        |plane, call| give(plane.register(call.who, call.param("worker"), &read(call.body)?)),
    ),
    act(
        (Post, "/v1/workers/{worker}/heartbeat"),
        Work,
        "A worker is there.",
        (Some(form::<Heartbeat>), form::<Pulse>),
        |plane, call| give(plane.heartbeat(call.param("worker"), &read(call.body)?)),
    ),
    act(
        (Post, "/v1/workers/{worker}/drain"),
        Operate,
        "A worker takes no more sessions.",
        (None, form::<Done>),
        |plane, call| give(plane.drain(call.who, call.param("worker"))),
    ),
    act(
        (Post, "/v1/workers/{worker}/revoke"),
        Operate,
        "A worker has no lease any more.",
        (None, form::<Done>),
        |plane, call| give(plane.revoke(call.who, call.param("worker"))),
    ),
    get("/v1/sessions", Look, "Sessions that have not ended.", form::<Sessions>, |plane, _| give(plane.sessions())),
    get(
        "/v1/sessions/{tenant}/{session}",
        Look,
        "A session, and where it has been.",
        form::<SessionStory>,
        |plane, call| give(plane.session(call.param("tenant"), call.param("session"))),
    ),
    act(
        (Post, "/v1/sessions"),
        Permission::Route,
        "Where a new session goes.",
        (Some(form::<RouteRequest>), form::<SessionRoute>),
        |plane, call| give(plane.route(call.who, &read(call.body)?)),
    ),
    Route {
        needs: Needs::Secret,
        ..act(
            (Post, "/v1/reroute"),
            Permission::Route,
            "Where a session is now.",
            (Some(form::<RerouteRequest>), form::<SessionRoute>),
            |plane, call| give(plane.reroute(&read(call.body)?)),
        )
    },
    act(
        (Post, "/v1/reports"),
        Work,
        "A worker tells of one session at once.",
        (Some(form::<SessionReport>), form::<Done>),
        |plane, call| give(plane.tell_session(&read(call.body)?)),
    ),
    Route {
        method: Get,
        path: "/v1/view",
        summary: "What workers go by; with `after`, once it is newer.",
        needs: Needs::Key(Work),
        query: &[(
            "after",
            "the number of the view that is there: the answer waits for a newer one, 20 s at most, then 204",
        )],
        takes: None,
        gives: form::<View>,
        handle: Handle::AwaitView,
    },
    get("/v1/quotas", Look, "Customers' quotas.", form::<Quotas>, |plane, _| give(plane.quotas())),
    act(
        (Put, "/v1/quotas"),
        Operate,
        "Set a customer's quota.",
        (Some(form::<TenantQuota>), form::<Done>),
        |plane, call| give(plane.set_quota(call.who, &read(call.body)?)),
    ),
    Route {
        query: &[("after", "the number of an entry: those after it are given")],
        ..get("/v1/audit", Audit, "The audit log, a thousand entries at a time.", form::<AuditLog>, |plane, call| {
            let after = call.param("after");
            let wrong = |_| Refusal::new(Code::Malformed, "`after` is the number of an entry");
            let after = if after.is_empty() { 0 } else { after.parse().map_err(wrong)? };
            give(plane.audit_log(call.who, after))
        })
    },
    Route {
        query: &[("head", "a hash that was kept elsewhere, which has to be there")],
        ..get(
            "/v1/audit/verdict",
            Audit,
            "Whether the audit log is what was written.",
            form::<AuditVerdict>,
            |plane, call| give(plane.verify_audit(Some(call.param("head")).filter(|head| !head.is_empty()))),
        )
    },
    get("/v1/keys", Administer, "All keys, without their secrets.", form::<Keys>, |plane, _| give(plane.keys())),
    act(
        (Post, "/v1/keys"),
        Administer,
        "Make a key; its secret is shown this once.",
        (Some(form::<KeyRequest>), form::<NewKey>),
        |plane, call| give(plane.add_key(call.who, &read(call.body)?)),
    ),
    act(
        (Delete, "/v1/keys/{id}"),
        Administer,
        "A key is not in force any more.",
        (None, form::<Done>),
        |plane, call| give(plane.revoke_key(call.who, call.param("id"))),
    ),
];
