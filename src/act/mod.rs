//! Carries out actions and returns their outcomes; every act is safe to repeat.

pub mod git;
