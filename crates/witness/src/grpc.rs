//! `WitnessService`: the witness over gRPC.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::v1;
use bytes::Bytes;
use exchange::Reason;
use tlog::{AddCheckpoint, Hash};
use tonic::{Code, Request, Response, Status};
use transport::status;

use crate::decision::{Cosigned, Refused};
use crate::service::Service;
use crate::stamp::{NotStamped, Registration};
use crate::writer::place;

/// The witness over gRPC.
#[derive(Debug)]
pub(crate) struct WitnessApi(pub(crate) Arc<Service>);

#[tonic::async_trait]
impl v1::witness_service_server::WitnessService for WitnessApi {
    async fn add_checkpoint(
        &self,
        request: Request<v1::AddCheckpointRequest>,
    ) -> Result<Response<v1::AddCheckpointResponse>, Status> {
        let v1::AddCheckpointRequest { old_size, proof, checkpoint } = request.into_inner();
        let proof = proof.iter().map(|hash| Hash::from_slice(hash)).collect::<Result<_, _>>();
        let proof = proof.map_err(|_| status::bad_field("proof", "hashes have 32 bytes"))?;
        let request = AddCheckpoint::of_parts(old_size, proof, &checkpoint);
        let line = match request.map_err(Refused::Request) {
            Ok(request) => self.0.add_checkpoint(request).await,
            Err(refused) => {
                self.0.count(Err(&refused));
                Err(refused)
            }
        };
        let line = line.map_err(|refused| refusal(&refused))?;
        Ok(Response::new(v1::AddCheckpointResponse { cosignatures: line.to_string().into() }))
    }

    async fn stamp(
        &self,
        request: Request<v1::StampRequest>,
    ) -> Result<Response<v1::StampResponse>, Status> {
        let v1::StampRequest { envelope, registration } = request.into_inner();
        let registration = registration.as_ref().map(|registration| Registration {
            envelope: &registration.envelope,
            receipt: &registration.receipt,
        });
        let stamp =
            self.0.stamp(&envelope, registration).await.map_err(|error| not_stamped(&error))?;
        let signature = Bytes::copy_from_slice(&stamp.signature);
        Ok(Response::new(v1::StampResponse { keyid: stamp.keyid, time: stamp.time, signature }))
    }

    async fn get_witness_state(
        &self,
        request: Request<v1::GetWitnessStateRequest>,
    ) -> Result<Response<v1::GetWitnessStateResponse>, Status> {
        let origin = request.into_inner().origin;
        let vkey = self.0.own().verifier.to_string();
        if origin.is_empty() {
            let logs = self.0.all().iter().map(|cosigned| state(cosigned, Bytes::new())).collect();
            return Ok(Response::new(v1::GetWitnessStateResponse { vkey, logs }));
        }
        let place = place(&origin);
        let all = self.0.all();
        let last = all.iter().find(|cosigned| cosigned.origin() == origin);
        let (Some(last), Some(note)) = (last, self.0.published(&place)) else {
            let message = "nothing of such a log was cosigned";
            return Err(status::plain(Code::NotFound, "UNKNOWN_LOG", message));
        };
        let logs = vec![state(last, Bytes::copy_from_slice(note.as_bytes()))];
        Ok(Response::new(v1::GetWitnessStateResponse { vkey, logs }))
    }
}

fn state(cosigned: &Cosigned, checkpoint: Bytes) -> v1::WitnessedLog {
    let head = cosigned.head();
    v1::WitnessedLog {
        origin: cosigned.origin().to_owned(),
        size: head.size,
        root: Bytes::copy_from_slice(head.root.as_bytes()),
        time: cosigned.time(),
        checkpoint,
    }
}

/// Status and reason of a refusal.
fn refusal(refused: &Refused) -> Status {
    use tlog::Refusal;
    let message = refused.to_string();
    let plain = |code, reason| status::plain(code, reason, &message);
    match refused {
        Refused::Request(_) => status::bad_field("checkpoint", message),
        Refused::Checkpoint { refusal, .. } => match refusal {
            Refusal::UnknownOrigin { .. } => plain(Code::NotFound, "UNKNOWN_LOG"),
            Refusal::Signature(_) => plain(Code::Unauthenticated, Reason::BadSignature.as_str()),
            Refusal::OldBeyondSize { .. } => status::bad_field("old_size", message),
            Refusal::OtherSize { size, .. } => {
                let metadata = HashMap::from([("size".to_owned(), size.to_string())]);
                status::with(Code::Aborted, "OTHER_SIZE", message, metadata)
            }
            Refusal::Inconsistent(_) | Refusal::EmptyTree { .. } => {
                plain(Code::FailedPrecondition, "INCONSISTENT")
            }
        },
        Refused::ClockFellBack { .. } => plain(Code::Unavailable, "CLOCK_BEHIND"),
        Refused::RolledBack { .. } => plain(Code::FailedPrecondition, "ROLLED_BACK"),
        Refused::Halted => plain(Code::FailedPrecondition, "HALTED"),
        Refused::RateLimited { retry } => {
            // Rounded up, so that whoever waits this long is not refused again.
            let after = *retry + Duration::from_millis(1);
            let refusal = exchange::Refusal::new(Reason::RateLimited, message.clone())
                .with(status::QUOTA, "checkpoints")
                .with(status::RETRY_AFTER, after.as_millis());
            status::of(&refusal)
        }
        Refused::QueueFull => status::of(&exchange::Refusal::new(Reason::QueueFull, message)),
        Refused::Stopping => status::of(&exchange::Refusal::new(Reason::Stopping, message)),
    }
}

fn not_stamped(error: &NotStamped) -> Status {
    let message = error.to_string();
    match error {
        NotStamped::Statement(refusal) => status::of(refusal),
        NotStamped::UnknownLog(_) => status::plain(Code::NotFound, "UNKNOWN_LOG", message),
        NotStamped::UnknownSigner(_) => {
            status::of(&exchange::Refusal::new(Reason::UnknownSigner, message))
        }
        NotStamped::Registration(_) => status::bad_field("registration", message),
        NotStamped::Refused(refused) => refusal(refused),
    }
}
