//! The smart protocol over HTTP.
use super::transport::Session;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use std::sync::Arc;

pub(crate) struct Http {
    session: Arc<Session>,
}
impl Http {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }
}
impl SmartSubtransport for Http {
    fn action(&self, _: &str, _: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        Err(git2::Error::from_str("todo"))
    }
    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}
