/** The numbers that bound what the Worker does, in one place; a unit is the last word of its name. */
export const limits = {
  // Routing (docs/sharding.md)
  routeBudgetMs: 5_000,
  routeBackoffBaseMs: 10,
  routeBackoffCapMs: 400,
  readRetriesMax: 2,
  readRetryBaseMs: 20,
  readOnlyRetryAfterSeconds: 5, // it may be over already: the map here is up to a lease old
  restoringRetryAfterSeconds: 30,
  shardsAtOnceMax: 6, // the platform's connection limit per invocation
  invocationStatementsMax: 1_000, // the platform's; each statement of a batch is one

  // Batches for many slots (src/sharding/grouped-batches.ts)
  groupItemsMax: 1_000, // in one batch
  groupBatchesMax: 60, // of one group: the platform allows an invocation 1,000 queries

  // The shard map
  mapDataCentreSecondsMax: 10,
  mapLoadTimeoutMs: 2_000,
  mapWaitMs: 1_000,
  mapRetryMs: 1_000,

  // KV
  kvWaitMs: 1_000,

  // Moves (docs/resharding.md)
  moveTurnMs: 15_000, // an alarm's work; the next goes on
  moveTurnMsMax: 45_000, // then it is given up, as one that died: something it waits for does not answer
  moveWatchMs: 5_000, // an alarm that died is followed by another
  moveCutoverBudgetMs: 2_000,
  moveCutoverAttemptsMax: 20,
  moveTargetWaitMs: 1_000, // at a turn's beginning, before the source is looked after without it
  moveTargetPatienceMs: 5_000, // and for so long after that
  moveChunkRowsMin: 50,
  moveChunkRowsFirst: 200,
  moveChunkRowsMax: 5_000,
  moveChunkBytesMax: 300_000, // JSON writes a control character with six; a value may have 2 MB
  moveTextBytesMax: 1_900_000,
  moveCountRowsMax: 20_000, // keys that one statement counts
  moveTailRowsMax: 500, // changes in one batch; a tail that fits is left to the cutover
  moveLogRowsMax: 200_000, // changes that wait; more abort the move, never the application
  moveBatchMs: 100, // what a round should take; stretches grow and shrink by it
  moveRestMsMax: 5_000,
  movePurgeRowsMax: 1_000,
  moveReportMs: 500,
  moveNoteMs: 1_000, // between two reasons of interrupted turns in the record
  moveStuckRetryMs: 300_000, // while only a person can decide
  moveCaptureLookMs: 60_000, // between two looks at what a settled move's target captures
  moveCaptureLookMsMin: 1_000,
  moveCapturedPerMsMax: 1, // the fastest growth of the log that a look allows for
  moveStatementsKept: 30, // of an invocation's: giving an attempt up, or commit, activate and retire
  moveLeaseMarginMs: 1_000,
  moveLaneRetryMs: 500,
  moveLaneRetriesMax: 9, // so many times more at the most, 5 s: a thousand that wait ask 400 times a second
  moveRetryBaseMs: 50,
  moveRetryCapMs: 5_000,
  moveFencedRetryCapMs: 250, // while writers wait
  moveRetryAfterSeconds: 5,
  moversAtOnceMax: 6, // the platform's connection limit per invocation
  moveDifferencesMax: 10, // named in a failed move's report

  // Claims and idempotency keys
  claimReservationMs: 60_000,
  signUpAttemptsMax: 3,
  idempotencyKeyHours: 24,
  idempotencyKeyCharactersMax: 200,

  // Sessions
  sessionIdleDays: 14,
  sessionAbsoluteDays: 90,
  sessionStampMs: 60_000,
  sessionLastSeenMs: 600_000,
  sessionsPerUserMax: 100,
  stampsHeldMax: 10_000,
  causalTokenMs: 120_000,

  // Jobs
  outboxSweepAfterMs: 30_000,
  outboxResendAfterMs: 900_000,
  outboxSweepRowsMax: 100,
  cronShardsMax: 40, // visited a minute, one window after the other
  cronJobsMax: 200,
  cronClaimsMax: 100,
  cronMovesMax: 100, // woken a minute, one hundred after the other
  queueSendBatchMax: 100, // Queues
  inboxDays: 30,
  housekeepingRowsMax: 500,
  verificationDays: 7,
  resetMinutes: 60,

  // Imports (docs/operating.md)
  importUsersMax: 200, // a request
  importShardsMax: 50, // with more, users that share no batch may make it 31 statements each …
  importUsersScatteredMax: 30, // … and this many stay below the platform's 1,000 queries
  importContestsMax: 20, // claims that others' lost attempts hold: several calls each
  importBodyBytesMax: 1_048_576,

  // Operators
  shardNumbersMs: 15_000, // a shard that hasn't answered by then is listed without its numbers

  // HTTP
  bodyBytesMax: 65_536,
  pageItemsDefault: 20,
  pageItemsMax: 100,
  rowBytesMax: 262_144, // a row travels as hex in one JSON parameter
} as const
