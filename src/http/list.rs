//! Lists in pages: `limit` and `cursor` in, `page` out.

use crate::domain::cursor::{decode_place, encode_place, fingerprint};
use crate::http::parameters::Parameters;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::{IntoParams, ToSchema};

/// Rows of a page when nothing is asked for.
const DEFAULT_LIMIT: u32 = 100;
/// Most rows of a page.
const MAX_LIMIT: u32 = 1_000;

/// What every list can be asked for. Documentation only: `ListPage::read` reads them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the parameters are read one by one, so that every fault is told at once")]
pub struct ListParameters {
    /// Rows a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// Where a page of a list stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListInfo {
    /// At most so many rows.
    pub limit: u32,
    /// Pass it as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// The page that was asked for.
#[derive(Debug, Clone)]
pub(super) struct ListPage<K> {
    list: u64,
    limit: u32,
    /// After this place.
    pub after: Option<K>,
}

impl<K: Serialize + DeserializeOwned> ListPage<K> {
    /// Reads `limit` and `cursor`; a cursor is bound to what describes the list.
    pub fn read(parameters: &mut Parameters, list: &str) -> Self {
        let list = fingerprint(list);
        let limit = parameters.read("limit", &format!("a number from 1 to {MAX_LIMIT}"), |text| {
            text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).filter(|limit| (1..=MAX_LIMIT).contains(limit))
        });
        let after = parameters.one("cursor").and_then(|text| match decode_place(&text, list) {
            Ok(key) => Some(key),
            Err(error) => {
                parameters.refuse("cursor", error);
                None
            }
        });
        Self { list, limit: limit.unwrap_or(DEFAULT_LIMIT), after }
    }

    /// Rows to ask for: one more than the page has, to know whether there are more.
    pub fn wanted(&self) -> u32 {
        self.limit + 1
    }

    /// Cuts what was found to the page and says where the next one begins.
    pub fn cut<T>(&self, rows: &mut Vec<T>, key: impl Fn(&T) -> K) -> ListInfo {
        let has_more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let last = rows.last().filter(|_| has_more);
        ListInfo { limit: self.limit, next_cursor: last.map(|row| encode_place(self.list, key(row))) }
    }
}
