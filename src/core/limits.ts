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
  unavailableRetryAfterSeconds: 2,
  // Time limits: every wait for something outside the isolate has one (docs/operating/time-limits.md, decision 0020)
  requestMs: 15_000, // no call of a request begins later; a browser's user has left by then
  afterResponseMs: 15_000, // the platform ends what follows a response 30 s after it
  queueBatchMs: 60_000, // a batch of jobs; the platform allows 15 minutes
  cronMs: 40_000, // a run ends before the next one starts
  shardCallMs: 2_000, // a read, or a write that may be sent again: 3 fit the budget of a route
  shardWriteMs: 5_000, // a write that may not: cutting it short only makes its outcome unknown
  shardProbeMs: 2_000, // a shard, the directory, KV and R2 as /readyz asks them
  readinessMs: 5_000, // all shards of /readyz together: 64 healthy ones take 11 rounds of some 10 ms
  directoryMs: 5_000, // a call that reads or changes a record
  directoryPlanMs: 10_000, // one that plans moves, or looks at the shards; the CLI waits 30 s for the whole request
  directoryRetriesMax: 2, // by the runtime itself; it would make 4
  moverWakeMs: 2_000, // all movers of one request together; the cron wakes the others
  cronWakeMs: 10_000,
  moverAskMs: 10_000, // `moves resolve`: a mover reads both shards, and compares their rows
  bootShardsMax: 200, // prepared by one request of a first boot, with four statements each
  directoryShardMs: 5_000, // the directory's own calls of shards: first boot, joining, schema
  moveCallMs: 10_000, // a mover's batch: it should take 100 ms, D1 ends a query after 30 s
  cacheWaitMs: 500, // the Cache API's copy of the map: it answers in some 5 ms, and the directory is next
  storeWaitMs: 2_000, // the Cache API and R2, as the static files ask them: their bundle is near
  bundleWaitMs: 5_000, // the bundle is the last source
  rateLimitWaitMs: 500, // it decides in the same data centre, in a few ms
  queueSendMs: 5_000, // the sweeper sends again; public reports name 57 s
  mailSendMs: 10_000, // an SMTP conversation

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
  moveBatchMs: 100, // what a round should take; chunks grow and shrink by it
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
  moveLaneOfferMs: 2_000, // for a move that was woken to take its lanes, before they are anybody's
  moveUnheardMs: 30_000, // then the cron wakes a move with lanes: a mover at work reports more often
  moveRetryBaseMs: 50,
  moveRetryCapMs: 5_000,
  moveFencedRetryCapMs: 250, // while writers wait
  moveRetryAfterSeconds: 5,
  moversAtOnceMax: 6, // the platform's connection limit per invocation
  movesRecordedAtOnce: 25, // in one transaction: about 5 ms of the directory
  shardBytesMax: 10_000_000_000, // D1 on the paid plan; SHARD_BYTES_MAX
  shardBytesMargin: 0.1, // of it stays free when moves are planned
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
  cronMovesMax: 400, // woken a minute: of 1,000 shards, at most 500 moves can be at work
  cronDutyStatementsMin: 200, // of an invocation’s 1,000: what each duty of the cron finds left, whatever the others need
  jobStatementsMax: 60, // no job is started with fewer left; ours send 10 to 15
  outboxSweepBytesMax: 8_000_000, // of bodies, over all shards that are visited: an isolate has 128 MB
  queueBatchMessagesMax: 100, // Queues’ limits, whose KB is 1,000 bytes …
  queueBatchBytesMax: 256_000,
  queueMessageBytesMax: 128_000,
  queueMessageOverheadBytes: 100, // … and that count what Queues adds to a message
  queueFailuresMax: 16, // a batch that is refused is sent in halves; when so many calls failed, the rest waits
  inboxDays: 30,
  inboxMarginDays: 1, // a job is not run in the inbox’s last day: clocks differ, and a job takes time
  deadLetterBodyBytesMax: 250_000, // a larger body stays in the outbox row: with the error it would be too large a row
  deadLetterErrorCharactersMax: 2_000,
  housekeepingRowsMax: 500,
  verificationDays: 7,
  resetMinutes: 60,

  // Imports (docs/operating/importing.md)
  importUsersMax: 200, // a request
  importShardsMax: 50, // with more, users that share no batch may make it 31 statements each …
  importUsersScatteredMax: 30, // … and this many stay below the platform's 1,000 queries
  importContestsMax: 20, // claims that others' lost attempts hold: several calls each
  importBodyBytesMax: 1_048_576,

  // Operators
  userSampleRowsMax: 2_000, // of each shard; with more users their number is estimated
  probeShardsMax: 5, // per request: each takes 65 statements, and 193 where every batch is tried three times
  probeShardMs: 15_000, // a shard’s answers to all batches
  probeTriesMax: 3, // of a batch, since a lost connection looks like an unknown text
  probePauseMs: 100, // before the second try, and twice as long before the third
  shardNumbersMs: 15_000, // a shard that hasn't answered by then is listed without its numbers

  // HTTP
  bodyBytesMax: 65_536,
  pageItemsDefault: 20,
  pageItemsMax: 100,
  rowBytesMax: 262_144, // a row travels as hex in one JSON parameter
} as const
