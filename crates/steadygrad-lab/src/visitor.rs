use crate::Subject;

/// Work that can be done on any subject, for callers that know its type only at run time.
pub trait SubjectVisitor {
    /// What the work returns.
    type Output;

    /// Does the work.
    fn visit<S: Subject>(self, subject: &S) -> Self::Output;
}
