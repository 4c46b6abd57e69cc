//! What a LiveKit server does for whoever runs it: rooms, who is in them, and agents that are sent to them. Each is a message of
//! LiveKit's, posted as Twirp has it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use livekit_protocol::{
    AgentDispatch, CreateAgentDispatchRequest, CreateRoomRequest, DeleteAgentDispatchRequest, DeleteRoomRequest,
    DeleteRoomResponse, ListAgentDispatchRequest, ListAgentDispatchResponse, ListParticipantsRequest,
    ListParticipantsResponse, ListRoomsRequest, ListRoomsResponse, MuteRoomTrackRequest, MuteRoomTrackResponse,
    ParticipantInfo, RemoveParticipantResponse, Room, RoomParticipantIdentity,
};
use prost::Message;
use rspp_adapters::{http, token};
use rspp_specs::binding::Endpoint;

pub use crate::line::LineError;
use crate::line::{DIALLING, url};
use crate::token::{Bearer, Grant, Keys};

/// An answer has to be there within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// A list of very many rooms is the longest.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Of what a server says instead of an answer, so much is told.
const MAX_SAID_BYTES: usize = 200;

/// A server's services.
pub struct Services {
    endpoint: Endpoint,
    keys: Keys,
}

impl Services {
    /// Those of a server, for who has a key.
    pub fn new(endpoint: Endpoint, keys: Keys) -> Self {
        Self { endpoint, keys }
    }

    /// Makes a room; one that is there already stays as it is.
    ///
    /// # Errors
    /// As all of them: the server can't be reached, or refuses.
    pub async fn create_room(&self, request: &CreateRoomRequest) -> Result<Room, LineError> {
        self.call("RoomService/CreateRoom", &Grant { room_create: true, ..Grant::default() }, request).await
    }

    /// The rooms that are there.
    ///
    /// # Errors
    /// See [`Services::create_room`].
    pub async fn rooms(&self) -> Result<Vec<Room>, LineError> {
        let grant = Grant { room_list: true, ..Grant::default() };
        let list: ListRoomsResponse = self.call("RoomService/ListRooms", &grant, &ListRoomsRequest::default()).await?;
        Ok(list.rooms)
    }

    /// Closes a room: everybody in it has to go.
    ///
    /// # Errors
    /// See [`Services::create_room`].
    pub async fn delete_room(&self, room: &str) -> Result<(), LineError> {
        let grant = Grant { room_create: true, ..Grant::default() };
        let request = DeleteRoomRequest { room: room.to_owned() };
        self.call::<DeleteRoomResponse>("RoomService/DeleteRoom", &grant, &request).await.map(drop)
    }

    /// Who is in a room.
    ///
    /// # Errors
    /// See [`Services::create_room`].
    pub async fn participants(&self, room: &str) -> Result<Vec<ParticipantInfo>, LineError> {
        let request = ListParticipantsRequest { room: room.to_owned() };
        let list: ListParticipantsResponse = self.call("RoomService/ListParticipants", &admin(room), &request).await?;
        Ok(list.participants)
    }

    /// Sends somebody out of a room.
    ///
    /// # Errors
    /// See [`Services::create_room`].
    pub async fn remove(&self, room: &str, identity: &str) -> Result<(), LineError> {
        let request =
            RoomParticipantIdentity { room: room.to_owned(), identity: identity.to_owned(), ..Default::default() };
        let grant = admin(room);
        let removed = self.call::<RemoveParticipantResponse>("RoomService/RemoveParticipant", &grant, &request);
        removed.await.map(drop)
    }

    /// Mutes somebody's track, or lets it be heard again where the server allows that.
    ///
    /// # Errors
    /// See [`Services::create_room`].
    pub async fn mute(&self, room: &str, identity: &str, track_sid: &str, muted: bool) -> Result<(), LineError> {
        let request = MuteRoomTrackRequest {
            room: room.to_owned(),
            identity: identity.to_owned(),
            track_sid: track_sid.to_owned(),
            muted,
        };
        let grant = admin(room);
        let muted = self.call::<MuteRoomTrackResponse>("RoomService/MutePublishedTrack", &grant, &request);
        muted.await.map(drop)
    }

    /// Sends the agent of this name to a room.
    ///
    /// # Errors
    /// See [`Services::create_room`].
    pub async fn dispatch(&self, room: &str, agent: &str) -> Result<AgentDispatch, LineError> {
        let request = CreateAgentDispatchRequest {
            agent_name: agent.to_owned(),
            room: room.to_owned(),
            ..CreateAgentDispatchRequest::default()
        };
        self.call("AgentDispatchService/CreateDispatch", &admin(room), &request).await
    }

    /// The agents that were sent to a room, and what became of them.
    ///
    /// # Errors
    /// See [`Services::create_room`].
    pub async fn dispatches(&self, room: &str) -> Result<Vec<AgentDispatch>, LineError> {
        let request = ListAgentDispatchRequest { room: room.to_owned(), ..ListAgentDispatchRequest::default() };
        let list: ListAgentDispatchResponse =
            self.call("AgentDispatchService/ListDispatch", &admin(room), &request).await?;
        Ok(list.agent_dispatches)
    }

    /// Calls an agent back.
    ///
    /// # Errors
    /// See [`Services::create_room`].
    pub async fn recall(&self, room: &str, dispatch: &str) -> Result<AgentDispatch, LineError> {
        let request = DeleteAgentDispatchRequest { dispatch_id: dispatch.to_owned(), room: room.to_owned() };
        self.call("AgentDispatchService/DeleteDispatch", &admin(room), &request).await
    }

    async fn call<A: Message + Default>(&self, path: &str, grant: &Grant, asks: &impl Message) -> Result<A, LineError> {
        let answer = tokio::time::timeout(PATIENCE, self.post(path, grant, asks.encode_to_vec())).await;
        let timed_out = |_| LineError::TimedOut { url: url(&self.endpoint), after: PATIENCE };
        A::decode(answer.map_err(timed_out)??).map_err(|error| self.nonsense(&error))
    }

    fn nonsense(&self, says: &impl ToString) -> LineError {
        LineError::Nonsense { url: url(&self.endpoint), says: says.to_string() }
    }

    async fn post(&self, path: &str, grant: &Grant, body: Vec<u8>) -> Result<Bytes, LineError> {
        let path = format!("{}/twirp/livekit.{path}", self.endpoint.path);
        let bearer = self.keys.token(Bearer::Program, grant, token::now());
        let request = Request::post(&path)
            .header(HOST, self.endpoint.authority())
            .header(CONTENT_TYPE, "application/protobuf")
            .header(AUTHORIZATION, format!("Bearer {bearer}"))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.nonsense(&error))?;
        let unreachable = |fault| LineError::Unreachable { url: url(&self.endpoint), fault };
        let stream = http::reach(&self.endpoint, DIALLING).await.map_err(unreachable)?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| self.nonsense(&error))?;
        // It ends with the answer, since nobody asks for more.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| self.nonsense(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| self.nonsense(&error))?.to_bytes();
        if status == 200 {
            return Ok(body);
        }
        let says = String::from_utf8_lossy(&body).into_owned();
        let says = says[..says.floor_char_boundary(MAX_SAID_BYTES.min(says.len()))].to_owned();
        Err(LineError::Status { url: url(&self.endpoint), path, status, says })
    }
}

fn admin(room: &str) -> Grant {
    Grant { room_admin: true, room: room.to_owned(), ..Grant::default() }
}
