//! Kinds of mistakes and findings: each has a word by which programs and people know it.

/// Makes the enum `Code` from rows of a word, a variant, what it stands for, and one thing more that is known of it.
macro_rules! codes {
    (
        #[doc = $doc:literal]
        #[doc = $extra_doc:literal]
        $extra:ident: $kind:ty,
        $($word:literal => $variant:ident: $about:literal, $value:expr,)*
    ) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $about] $variant,)*
        }

        impl Code {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its word.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What it stands for, as one sentence.
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $about,)*
                }
            }

            #[doc = $extra_doc]
            pub fn $extra(self) -> $kind {
                match self {
                    $(Self::$variant => $value,)*
                }
            }
        }
    };
}

pub(crate) use codes;
