/// Makes [`Detector`](super::Detector), [`DetectorConfig`](super::DetectorConfig) and
/// [`DetectorState`](super::DetectorState) from the list of detectors, and what is done with each
/// of them in turn.
///
/// A row is the detector's module, its type, and attributes of its settings' field.
macro_rules! detectors {
    ($($(#[$attribute:meta])* $module:ident: $Type:ident,)+) => {
        $(pub use $module::$Type;)+

        /// Which detector saw something.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Detector {
            $(
                #[doc = concat!("See [`", stringify!($Type), "`](struct@", stringify!($Type), ").")]
                $Type,
            )+
        }

        impl Detector {
            /// All detectors, in the order in which they are asked.
            pub const ALL: [Self; [$(stringify!($Type)),+].len()] = [$(Self::$Type),+];

            /// Its name for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$Type => <$Type as Detect>::TITLE,)+ }
            }

            /// Whether it is about growth, rather than vanishing gradients or the clipping itself.
            pub fn is_about_explosion(self) -> bool {
                match self { $(Self::$Type => <$Type as Detect>::IS_ABOUT_EXPLOSION,)+ }
            }

            /// Whether the ladder counts its detections as bad losses.
            pub(crate) fn shows_a_bad_loss(self) -> bool {
                match self { $(Self::$Type => <$Type as Detect>::SHOWS_A_BAD_LOSS,)+ }
            }
        }

        /// The settings of all detectors. The defaults have their sources in each detector's
        /// documentation.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct DetectorConfig {
            $(
                $(#[$attribute])*
                #[doc = concat!("See [`", stringify!($Type), "`](struct@", stringify!($Type), ").")]
                pub $module: $Type,
            )+
        }

        /// What all detectors remember.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub(crate) struct DetectorState {
            /// The last accepted losses.
            losses: RunningScale,
            $($module: <$Type as Detect>::State,)+
        }

        impl DetectorConfig {
            /// Checks every setting against its allowed range.
            ///
            /// # Errors
            /// Names the first field outside its range.
            pub fn validate(&self) -> Result<(), SettingError> {
                $(
                    let checked = Detect::validate(&self.$module);
                    checked.map_err(|error| error.within(stringify!($module)))?;
                )+
                Ok(())
            }

            fn with_power(self, power: f64) -> Self {
                Self { $($module: Detect::with_power(self.$module, power),)+ }
            }

            fn check_each(&self, state: &DetectorState, signals: &Signals<'_>) -> Vec<Detection> {
                let step = signals.reading.step;
                let seen = [
                    $(
                        Detect::check(&self.$module, &state.$module, signals)
                            .map(|seen| Detection::new(Detector::$Type, step, seen)),
                    )+
                ];
                seen.into_iter().flatten().collect()
            }

            fn accept_each(&self, state: &mut DetectorState, signals: &Signals<'_>, clipped: bool) {
                $(Detect::accept(&self.$module, &mut state.$module, signals, clipped);)+
            }

            fn reject_each(&self, state: &mut DetectorState, signals: &Signals<'_>, applied: bool) {
                $(Detect::reject(&self.$module, &mut state.$module, signals, applied);)+
            }

            fn quiet_each(
                &self,
                state: &DetectorState,
                next: &Next<'_>,
                bounds: Quiet,
            ) -> Option<Quiet> {
                $(let bounds = Detect::quiet(&self.$module, &state.$module, next, bounds)?;)+
                $(let bounds = Detect::quiet_within(&self.$module, &state.$module, bounds)?;)+
                Some(bounds)
            }
        }

        impl DetectorState {
            /// Forgets all levels: the next readings set them anew, as at the start of a run. What
            /// is compared from step to step, and the learning rates, stay.
            pub(crate) fn forget_levels(&mut self) {
                self.losses = RunningScale::default();
                $(<$Type as Detect>::forget_level(&mut self.$module);)+
            }
        }
    };
}

pub(super) use detectors;
