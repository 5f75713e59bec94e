/** All limits of the Worker, in one place. The last word of a name is its unit. */
export const limits = {
  // Routing (docs/sharding.md)
  routeBudgetMs: 5_000,
  routeBackoffBaseMs: 10,
  routeBackoffCapMs: 400,
  readRetriesMax: 2,
  readRetryBaseMs: 20,
  readOnlyRetryAfterSeconds: 5, // it may have ended, because the map here is up to a lease old
  restoringRetryAfterSeconds: 30,
  unavailableRetryAfterSeconds: 2,
  // Time limits. Every wait for something outside the isolate has one (docs/operating/time-limits.md, decision 0020)
  requestMs: 15_000, // no call of a request starts later; a browser's user has left by then
  handOverMs: 6_000, // a page from the shared cache; longer than a route's budget, so that a slow shard is not asked twice
  afterResponseMs: 15_000, // the platform stops work 30 s after the response
  queueBatchMs: 60_000, // a batch of jobs; the platform allows 15 minutes
  cronMs: 40_000, // a run ends before the next one starts
  shardCallMs: 2_000, // a read, or a write that may be sent again; 3 fit the budget of a route
  shardWriteMs: 5_000, // a write that may not be sent again; a shorter limit only makes more outcomes unknown
  replicaReadMs: 1_000, // a read that a replica may answer; then the primary is asked
  replicaWaitedMs: 50, // a replica that answers later has probably waited for the bookmark
  shardProbeMs: 2_000, // one probe of /readyz: a shard, the directory, KV or R2
  readinessMs: 5_000, // all shards of /readyz together; 64 healthy shards take 11 rounds of about 10 ms
  directoryMs: 5_000, // a call that reads or changes a record
  directoryPlanMs: 10_000, // a call that plans moves or reads the shards; the CLI waits 30 s for the whole request
  directoryRetriesMax: 2, // by the runtime itself; its default is 4
  moverWakeMs: 2_000, // all movers of one request together; the cron wakes the rest
  cronWakeMs: 10_000,
  moverAskMs: 10_000, // `moves resolve`: a mover reads both shards and compares their rows
  bootShardsMax: 200, // prepared by one request of a first boot, with four statements each
  keyspaceTriesMax: 20, // per shard, because a busy mover may change the shard between a read and its seed
  keyspacePauseMs: 25,
  keyspaceRetryMs: 5_000, // before the directory assigns a new keyspace again after a failure
  directoryShardMs: 5_000, // the directory's own calls of shards, for the first boot, joins and schemas
  moveCallMs: 10_000, // a mover's batch; it should take 100 ms, and D1 ends a query after 30 s
  cacheWaitMs: 500, // the Cache API's copy of the map; it answers in about 5 ms, and the directory is asked next
  storeWaitMs: 2_000, // the Cache API and R2 for static files; the bundle is the fallback
  bundleWaitMs: 5_000, // the bundle is the last source
  rateLimitWaitMs: 500, // the limiter answers from the same data centre in a few ms
  queueSendMs: 5_000, // the sweeper retries; public reports mention 57 s
  purgeMs: 10_000, // a purge of shared pages
  purgeAgainMs: 150_000, // after the deletion; a cached row is shown for 120 s, and its page may be stored 20 s later
  purgeApartMs: 12_000, // between two purges; the platform allows an account 5 per minute
  purgeTagsMax: 100, // in one purge, the platform's limit; the largest batch of their queue
  mailSendMs: 10_000, // an SMTP conversation
  mailPreviewsMax: 50, // mails on the page of a local server; at most the keys of one bulk read

  shardsAtOnceMax: 6, // the platform's connection limit per invocation
  scatterMs: 5_000, // a page of all shards; a shard that has not answered by then is named as failed
  searchMs: 2_000, // a page of a search, which is then marked as partial
  scatterTriesMax: 3, // of one page, each with a newer map; the last one keeps its map
  scatterStreamRows: 500, // in a page of a stream over a whole table
  invocationStatementsMax: 1_000, // the platform's limit; each statement of a batch counts as one

  // Batches for many slots (src/sharding/grouped-batches.ts)
  groupItemsMax: 1_000, // in one batch
  groupBatchesMax: 60, // of one group; the platform allows an invocation 1,000 queries

  // The shard map
  mapDataCentreSecondsMax: 10,
  mapLoadTimeoutMs: 2_000,
  mapWaitMs: 1_000,
  mapRetryMs: 1_000,

  // KV
  kvWaitMs: 250, // a read; then it counts as a miss
  kvWriteMs: 2_000, // nothing waits for it
  kvKeysMax: 100, // per bulk read, the platform's limit
  kvKeyBytesMax: 512, // the platform's limit

  // The read-through cache (docs/caching.md)
  cacheMemoryBytesMax: 14_000_000, // of the isolate's 128 MB; with the versions below, less than 16 MB
  cacheEntryBytesMax: 2_100_000, // a larger one is not kept in memory
  cacheVersionsMax: 10_000, // of things that are no longer in memory
  cacheAgeMsMax: 360_000, // no policy shows an older value; the causal token lives longer
  cacheMemoryMs: 5_000, // then KV is asked for a newer value, in the background …
  cacheCheckReads: 10, // … if the value was read this often, because a read of KV costs as much as 500 rows of D1
  cacheJoinMs: 1_000, // how long a reader waits for another reader's load before it loads for itself
  cacheSoftMs: 500, // a reader who has a stale value waits this long for a fresh one
  cacheReadMs: 5_000, // a reader who has none waits this long; then 503
  cacheClockSkewMs: 1_000, // between two isolates
  cacheCopyReads: 2, // a value is put into KV at its second read, because most are read once
  cacheHotReads: 100, // of one value since its load; then it is refreshed before it expires, and kept longer

  // Moves (docs/resharding.md)
  moveTurnMs: 15_000, // the work of one alarm; the next alarm resumes it
  moveTurnMsMax: 45_000, // then the turn is abandoned like a crashed one, because something it waits for does not answer
  moveWatchMs: 5_000, // another alarm follows one that crashed
  moveCutoverBudgetMs: 2_000,
  moveCutoverAttemptsMax: 20,
  moveTargetWaitMs: 1_000, // at the start of a turn, before the source is released without the target
  moveTargetPatienceMs: 5_000, // additional wait after that
  moveChunkRowsMin: 50,
  moveChunkRowsFirst: 200,
  moveChunkRowsMax: 5_000,
  moveChunkBytesMax: 300_000, // JSON writes a control character as six; a value may have 2 MB
  moveTextBytesMax: 1_900_000,
  moveCountRowsMax: 20_000, // keys that one statement counts
  moveTailRowsMax: 500, // changes in one batch; a tail that fits is left to the cutover
  moveLogRowsMax: 200_000, // waiting changes; more abort the move, never the application
  moveBatchMs: 100, // the target time of a round; chunks grow and shrink to meet it
  moveRestMsMax: 5_000,
  movePurgeRowsMax: 1_000,
  moveReportMs: 500,
  moveNoteMs: 1_000, // at least this long between two recorded reasons of interrupted turns
  moveStuckRetryMs: 300_000, // while an operator must decide
  moveCaptureLookMs: 60_000, // between two checks of the changes that a settled move's target captured
  moveCaptureLookMsMin: 1_000,
  moveCapturedPerMsMax: 1, // the fastest growth of the log that a check assumes
  moveStatementsKept: 30, // reserved per invocation, to give up an attempt, or to commit, activate and retire
  moveLeaseMarginMs: 1_000,
  moveLaneOfferMs: 2_000, // how long lanes are kept for a move that was woken to take them
  moveUnheardMs: 30_000, // then the cron wakes a move with lanes, because an active mover reports more often
  moveRetryBaseMs: 50,
  moveRetryCapMs: 5_000,
  moveFencedRetryCapMs: 250, // while writers wait
  moveRetryAfterSeconds: 5,
  moversAtOnceMax: 6, // the platform's connection limit per invocation
  movesRecordedAtOnce: 25, // in one transaction: about 5 ms of the directory
  shardBytesMax: 10_000_000_000, // D1's limit on the paid plan; SHARD_BYTES_MAX overrides it
  shardBytesMargin: 0.1, // the fraction that stays free when moves are planned
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
  sessionDataBytesMax: 4_096, // of JSON; a larger thing belongs in a table
  passwordAttemptsFree: 5, // per login; then each attempt without a success doubles the wait
  passwordWaitMs: 1_000,
  passwordWaitMsMax: 900_000,
  passwordAttemptsHours: 24, // after the latest attempt, its counter expires
  stampsHeldMax: 10_000,
  causalTokenMs: 420_000, // longer than `cacheAgeMsMax`; meanwhile, the client's own slots are not read from a cache

  // Jobs
  outboxSweepAfterMs: 30_000,
  outboxResendAfterMs: 900_000,
  outboxSweepRowsMax: 100,
  cronShardsMax: 40, // visited per minute, one window after another
  cronJobsMax: 200,
  cronClaimsMax: 100,
  cronMovesMax: 400, // woken per minute; with 1,000 shards, at most 500 moves can be active
  cronDutyStatementsMin: 200, // of an invocation’s 1,000; guaranteed to each duty of the cron, whatever the others use; less with more than four duties
  mediaBatchMs: 600_000, // a batch of pictures; the platform allows 15 minutes
  pictureMs: 300_000, // an attempt at one picture: up to 15 transformations
  jobAttemptMs: 30_000, // an attempt at a job, unless its kind has another limit; a batch has 60 s
  jobHistoryMax: 10, // failed attempts kept with a job …
  jobHistoryErrorCharactersMax: 300, // … and the start of each one's reason
  jobRecordDays: 60, // longer than the job's dead letter can be redriven
  jobShardCallsMax: 2, // at once, of one invocation in one shard, so that users' queries come between
  backfillRanges: 16, // of one backfill, each a job; so at most this many of its messages are in the queue
  backfillSlotsMax: 512, // in one chunk, which is guarded for each of them
  backfillChunksMax: 5, // of one attempt; 8 statements each leave 20 for the rest of it
  backfillTurnMs: 2_000, // no chunk of an attempt starts later; then other jobs of the queue come first
  pausesMs: 5_000, // between two looks of an isolate at what is paused
  jobStatementsMax: 60, // a job starts only with this many left; the application's jobs send 10 to 15
  jobTogetherStatements: 12, // of a job that runs together with others, if it is alone in its shards; the application’s send 7 to 11
  repairRowsMax: 200, // read per shard and turn by a repair
  repairCountedRowsMax: 50_000, // counted per shard and turn by a repair
  repairAfterMs: 3_600_000, // a repair leaves younger changes to their jobs
  outboxSweepBytesMax: 8_000_000, // of bodies, over all visited shards; an isolate has 128 MB
  queueBatchMessagesMax: 100, // Queues’ limits, whose KB is 1,000 bytes …
  queueBatchBytesMax: 256_000,
  queueMessageBytesMax: 128_000,
  queueMessageOverheadBytes: 100, // … and that count what Queues adds to a message
  queueFailuresMax: 16, // a refused batch is sent in halves; after this many failed calls, the rest waits
  inboxDays: 30,
  inboxMarginDays: 1, // no job runs in the inbox’s last day, because clocks differ and a job takes time
  deadLetterBodyBytesMax: 250_000, // a larger body stays in the outbox row, because with the error the row would be too large
  deadLetterErrorCharactersMax: 2_000,
  housekeepingRowsMax: 500,
  verificationDays: 7,
  knownDeviceDays: 180, // after its last log-in, a device is new again
  logInNoticeMs: 3_600_000, // between two mails about new log-ins to an account
  resetMinutes: 60,

  // Changes of the handle and the e-mail address (decision 0043)
  handleRetiredDays: 30, // then anybody can take it
  handlesRetiredMax: 3, // kept for one account at the same time
  handleChangeTriesMax: 3, // another change of the profile was first
  emailChangeHours: 24, // the link to the new address
  emailNoticeDays: 7, // the row of a notice; its job ends earlier
  emailChangeTriesMax: 3, // the attempt was barred, or an equal request was first

  // Pictures (decision 0047)
  pictureBytesMax: 10_000_000,
  picturePixelsMax: 50_000_000, // in all frames together; the platform delivers a larger animation with its metadata
  pictureSideMax: 12_000, // the platform's limit for the input of a transformation
  pictureFramesMax: 1_000,
  picturesPerPostMax: 4,
  pictureFormBytesMax: 20_000_000, // of a form with all its pictures; an isolate has 128 MB
  mediaUnusedMax: 20, // per account: uploaded, and nothing shows them yet
  mediaUnusedHours: 24, // then they are deleted
  mediaTriesMax: 3, // of one picture in one attempt at its job, while the service transforms another picture …
  mediaPauseMs: 500, // … with this pause
  mediaSweptRowsMax: 100, // read or deleted per shard and turn
  mediaSweptObjectsMax: 500, // of R2, listed per turn
  mediaCheckedMax: 20, // per turn: asked for in R2, because a ready picture must have its objects
  objectMs: 10_000, // a call of R2, with up to 10 MB
  imageMs: 30_000, // a transformation
  pictureSegmentsMax: 4_096, // of a JPEG; a large colour profile and XMP together have about 300
  pictureScansMax: 100, // of a JPEG; an encoder writes about 10, and each one decodes the whole picture again

  // Imports (docs/operating/importing.md)
  importUsersMax: 200, // per request
  importShardsMax: 50, // with more shards, users that share no batch may need 31 statements each …
  importUsersScatteredMax: 30, // … so only this many stay below the platform's 1,000 queries
  importContestsMax: 20, // claims held by expired attempts of others; several calls each
  importBodyBytesMax: 1_048_576,

  // Operators
  userSampleRowsMax: 2_000, // per shard; the number of users beyond that is estimated
  redriveLettersMax: 1_000, // dead letters taken by one request, in one batch per shard …
  redriveShardsMax: 50, // … of at most this many shards; the command repeats the request
  redriveIdsMax: 100, // named in one request
  redriveBodyBytesMax: 4_096, // a redriven job with a larger body is left to the sweeper; 4 MB in all
  redriveInlineMax: 10, // jobs that run after one answer, with `JOBS=inline`
  kindRowsMax: 10_000, // of each table, counted per shard for the list of kinds
  backlogLogMs: 60_000, // between two lines about one queue's backlog, per isolate
  probeShardsMax: 5, // per request; each takes 65 statements, or 193 if every batch is tried three times
  probeShardMs: 15_000, // a shard’s answers to all batches
  probeTriesMax: 3, // per batch, because a lost connection looks like an unknown text
  probePauseMs: 100, // before the second try, and twice as long before the third
  replicaSurveyShardsMax: 30, // per request of `replicas status`: five rounds of six shards …
  replicaSurveyReads: 4, // … with four reads each, of about 100 ms if the primary is far away
  replicaSurveyMs: 10_000, // all of them; then the remaining shards are reported as not asked
  shardNumbersMs: 15_000, // a shard that has not answered by then is listed without numbers

  // HTTP
  bodyBytesMax: 65_536,
  pageItemsDefault: 20,
  pageItemsMax: 100,
  rowBytesMax: 262_144, // a row travels as hex in one JSON parameter
} as const
