//! wip
#![allow(dead_code)]

mod broker;
mod defences;
mod dispatcher;
mod histories;
mod holder;
mod holds;
mod model;
mod numbering;
mod operator;
mod progress;
mod publish;
mod reading;
mod scenario;
mod state;
mod step;
