//! What devices can be told.

use chassis::paging::Page;
use chassis::store::Store;
use chassis::time::timestamp;
use chassis::{Clock, Error, Result, open};
use proto::registry::command_service_server::CommandService;
use proto::registry::{
    Command, CreateCommandRequest, DeleteCommandRequest, DeleteCommandResponse, GetCommandRequest,
    ListCommandsRequest, ListCommandsResponse, UpdateCommandRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::device_commands::parameters;
use crate::entity::command;
use crate::paged::paged;
use crate::{etag, ids};
use chassis::mask::{Fields, field};

/// What updates may change.
const FIELDS: Fields<Command> = Fields {
    message: "command",
    input: &[
        field!(name),
        field!(display_name),
        field!(description),
        field!(parameters),
        field!(default_ttl),
        field!(default_max_attempts),
    ],
    output: &["id", "number", "create_time", "update_time", "etag"],
};

/// Answers calls about commands.
pub(crate) struct Commands {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl CommandService for Commands {
    async fn create_command(
        &self,
        request: Request<CreateCommandRequest>,
    ) -> Result<Response<Command>, Status> {
        let (caller, req) = open(request)?;
        let now = self.clock.now();
        let id = ids::chosen_or_new("command_id", &req.command_id, &self.clock)?;
        let row = command::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns(req.command.unwrap_or_default())?
        };
        let row = self
            .store
            .change(&caller, ("commands", id), async |tx| {
                tx.insert(row).await.map_err(taken)
            })
            .await?;
        Ok(Response::new(message(row)))
    }

    async fn get_command(
        &self,
        request: Request<GetCommandRequest>,
    ) -> Result<Response<Command>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        Ok(Response::new(message(row)))
    }

    async fn list_commands(
        &self,
        request: Request<ListCommandsRequest>,
    ) -> Result<Response<ListCommandsResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?.skip(req.skip);
        let query = matching(&req);
        let tx = self.store.read(&caller).await?;
        let total_size = match req.count_total {
            true => tx.count(query.clone()).await?,
            false => 0,
        };
        let rows = tx.all(paged(query, command::Column::Number, &page)).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(Response::new(ListCommandsResponse {
            commands: rows.into_iter().map(message).collect(),
            next_page_token,
            total_size: total_size.cast_signed(),
        }))
    }

    async fn update_command(
        &self,
        request: Request<UpdateCommandRequest>,
    ) -> Result<Response<Command>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .command
            .ok_or_else(|| Error::invalid("command", "must be set"))?;
        let id = ids::parse("command.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, ("commands", id), async |tx| {
            let row = tx.one(by_id(id)).await?;
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision) = (row.number, row.revision);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, message(row))?;
            tx.update(command::ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                ..columns(merged)?
            })
            .await
        });
        let row = updated.await.map_err(taken)?;
        Ok(Response::new(message(row)))
    }

    async fn delete_command(
        &self,
        request: Request<DeleteCommandRequest>,
    ) -> Result<Response<DeleteCommandResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let query = command::Entity::delete_many().filter(command::Column::Id.eq(id));
        self.store
            .change(&caller, ("commands", id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteCommandResponse {}))
    }
}

fn by_id(id: Uuid) -> Select<command::Entity> {
    command::Entity::find().filter(command::Column::Id.eq(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("command", id)
}

fn taken(error: Error) -> Error {
    error.unique(&[("name", "command.name"), ("id", "command_id")])
}

/// The commands that a request asks for, on all pages.
fn matching(request: &ListCommandsRequest) -> Select<command::Entity> {
    let name = (!request.name.is_empty()).then_some(request.name.as_str());
    let number = (request.number != 0).then_some(request.number);
    command::Entity::find()
        .apply_if(name, |query, name| {
            query.filter(command::Column::Name.eq(name))
        })
        .apply_if(number, |query, number| {
            query.filter(command::Column::Number.eq(number))
        })
}

/// The columns that the creator of a command, or who changes it, sets.
fn columns(command: Command) -> Result<command::ActiveModel> {
    let attempts = command.default_max_attempts;
    Ok(command::ActiveModel {
        parameters: Set(Some(parameters::to_json(&command.parameters)?)),
        default_ttl_seconds: Set(command.default_ttl.map(|ttl| ttl.seconds)),
        default_max_attempts: Set((attempts > 0).then_some(attempts)),
        name: Set(command.name),
        display_name: Set(command.display_name),
        description: Set(command.description),
        ..Default::default()
    })
}

/// A command as the contract has it.
fn message(row: command::Model) -> Command {
    Command {
        id: row.id.to_string(),
        number: row.number,
        name: row.name,
        display_name: row.display_name,
        description: row.description,
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
        parameters: parameters::from_json(row.parameters),
        default_ttl: row
            .default_ttl_seconds
            .map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        default_max_attempts: row.default_max_attempts.unwrap_or_default(),
    }
}
