//! A record of one's own, with everything that opens it: what the vault keeps, what the log shows,
//! and the commitment vector.

use exchange::StatementId;
use exchange::predicate::Evaluation;
use record::column::{Column, LayoutError};
use record::commit::{CommitError, Graded, ItemValues, grade};
use record::context::{Context, TooLong};
use record::header::Header;
use record::items::{AgreedItems, ItemKey, ItemsFile, ItemsFileError, ItemsLimit, Row};
use record::opening::{Body, Disclosure, OpenError, OpeningBuilder, RecordParts};
use record::secret::RecordSecret;
use record::total::TotalOpening;

use crate::vault::{VaultRecord, item_values};

/// Why a record of one's own can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OwnRecordError {
    /// Its attestation says what no record can be.
    #[error("its attestation: {0}")]
    Header(#[from] LayoutError),
    /// A name that is too long for a context.
    #[error(transparent)]
    Context(#[from] TooLong),
    /// The items file in the vault is none.
    #[error("the items file in the vault: {0}")]
    ItemsFile(#[from] ItemsFileError),
    /// The vault's items are too many.
    #[error(transparent)]
    Items(#[from] ItemsLimit),
    /// What is to be opened is not what was committed, or there is no such thing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The vault's values are none that could have been committed.
    #[error(transparent)]
    Values(#[from] CommitError),
    /// There is no such column.
    #[error("there is no column {0:?}")]
    Column(String),
    /// There is no such subject, or it is absent.
    #[error("{0} is no fact of this record's header, or it is absent")]
    Subject(String),
    /// The vault has fewer items than the record.
    #[error("the vault has no item {0} of this record")]
    Item(u64),
}

/// One of the party's records, ready to be opened.
pub struct OwnRecord {
    /// The attestation's id.
    pub id: StatementId,
    /// What the attestation says.
    pub header: Header,
    /// The items file.
    pub file: ItemsFile,
    /// The items in the record's order.
    pub items: AgreedItems,
    /// Values by index; none for a missing item.
    pub values: Vec<Option<ItemValues>>,
    /// Hidden facts of the header.
    pub subjects: Vec<(String, Option<String>)>,
    context: Context,
    secret: RecordSecret,
    vector: Vec<u8>,
}

impl std::fmt::Debug for OwnRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnRecord").field("id", &self.id).finish_non_exhaustive()
    }
}

impl OwnRecord {
    /// Puts together what the vault keeps, the attestation, and the vector that it names.
    pub fn new(
        kept: VaultRecord,
        id: StatementId,
        evaluation: &Evaluation,
        vector: Vec<u8>,
    ) -> Result<Self, OwnRecordError> {
        let header = evaluation.header()?;
        let exchange = Some(&kept.exchange).filter(|id| id.as_bytes() != &[0; 32]);
        let (origin, party) = (kept.origin.as_str(), kept.party.as_str());
        let context = Context::new(origin, exchange, party, &kept.nonce)?;
        let file = ItemsFile::parse(kept.items_file.as_bytes())?;
        let items = file.agree(&ItemKey::new(*kept.item_key), kept.epochs)?;
        let columns = header.layout().columns();
        let values = kept.items.iter().map(|item| item_values(item, columns)).collect();
        let secret = RecordSecret::new(*kept.secret);
        let subjects = kept.subjects;
        Ok(Self { id, header, file, items, values, subjects, context, secret, vector })
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        self.header.layout().columns()
    }

    /// The row of an item.
    pub fn row(&self, index: u64) -> Option<&Row> {
        let item = self.items.items().get(usize::try_from(index).ok()?)?;
        self.file.rows().get(item.row)
    }

    /// The values of an item; none if it is missing in the log.
    pub fn item(&self, index: u64) -> Option<&ItemValues> {
        self.values.get(usize::try_from(index).ok()?)?.as_ref()
    }

    /// What an item came to: its status, and the integer of each column.
    pub fn graded(&self, index: u64) -> Result<Graded, OwnRecordError> {
        let place = usize::try_from(index).map_err(|_| OwnRecordError::Item(index))?;
        let values = self.values.get(place).ok_or(OwnRecordError::Item(index))?;
        Ok(grade(self.columns(), index, values.as_ref())?)
    }

    /// The opening of a column's total.
    pub fn total(&self, column: &str) -> Result<TotalOpening, OwnRecordError> {
        let layout = self.header.layout();
        let place =
            layout.column(column).ok_or_else(|| OwnRecordError::Column(column.to_owned()))?;
        let values = self.values.iter().map(Option::as_ref);
        Ok(TotalOpening::from_items(&self.secret, layout, place, values)?)
    }

    /// The value of a hidden fact of the header.
    pub fn subject(&self, name: &str) -> Result<&str, OwnRecordError> {
        let known = self.subjects.iter().find(|(known, _)| known == name);
        let value = known.and_then(|(_, value)| value.as_deref());
        value.ok_or_else(|| OwnRecordError::Subject(name.to_owned()))
    }

    /// The opening of exactly this, each value compared with what was committed.
    pub fn open(&self, what: &Disclosure) -> Result<Body, OwnRecordError> {
        let parts = RecordParts {
            id: self.id.hash(),
            header: &self.header,
            context: &self.context,
            secret: &self.secret,
            vector: &self.vector,
            items: &self.items,
        };
        let mut builder = OpeningBuilder::new(parts)?;
        let fields: Vec<&str> = what.fields.iter().map(String::as_str).collect();
        for index in &what.items {
            let place = usize::try_from(*index).map_err(|_| OwnRecordError::Item(*index))?;
            let values = self.values.get(place).ok_or(OwnRecordError::Item(*index))?;
            let row = self.row(*index).filter(|_| what.rows).map(Row::content);
            builder.item(*index, values.as_ref(), &fields, row)?;
        }
        for column in &what.totals {
            builder.total(column, &self.total(column)?)?;
        }
        for subject in &what.subjects {
            builder.subject(subject, self.subject(subject)?)?;
        }
        Ok(builder.finish()?)
    }
}
