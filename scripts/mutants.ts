/**
 * `npm run mutants [-- --only NAME]`: removes one safeguard at a time in a copy of the tree, and runs the tests that
 * guard it. At least one of them must fail; otherwise no test protects the safeguard and the command exits 1.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { type Cut, MutatedCopy } from './mutated-copy.ts'
import { readOptions } from './options.ts'

interface Mutant extends Cut {
  name: string
  project: 'unit' | 'workerd' | 'e2e' | 'simulation'
  tests: string
}

const firstTables = 'migrations/shard/0001_first_tables.sql'
const migrations = {
  project: 'unit',
  tests: 'test/unit/cli/migrations/migration-rules.test.ts test/unit/cli/migrations/trigger-forms.test.ts',
} as const
const schemas = {
  project: 'unit',
  tests: 'test/unit/resharding/hostile-schemas.test.ts test/unit/resharding/tables.test.ts',
} as const
const sharding = { project: 'workerd', tests: 'test/workerd/sharding' } as const
const routed = { project: 'workerd', tests: 'test/workerd/sharding/routed-answers.test.ts' } as const
const timeLimits = { project: 'unit', tests: 'test/unit/sharding/time-limits.test.ts' } as const
const accounts = { project: 'workerd', tests: 'test/workerd/accounts' } as const
const handleChanges = { project: 'workerd', tests: 'test/workerd/accounts/handle-changes.test.ts' } as const
const emailChanges = { project: 'workerd', tests: 'test/workerd/accounts/email-changes.test.ts' } as const
const imports = { project: 'workerd', tests: 'test/workerd/imports' } as const
const foreignFiles = { project: 'unit', tests: 'test/unit/cli/import/foreign.test.ts' } as const
const probes = { project: 'workerd', tests: 'test/workerd/sharding/probe.test.ts' } as const
const restores = { project: 'unit', tests: 'test/unit/cli/restore test/unit/app/accounts/restore.test.ts' } as const
const sessions = { project: 'workerd', tests: 'test/workerd/sessions' } as const
const sessionData = { project: 'workerd', tests: 'test/workerd/sessions/session-data.test.ts' } as const
const rotation = { project: 'workerd', tests: 'test/workerd/sessions/rotation.test.ts' } as const
const attempts = { project: 'workerd', tests: 'test/workerd/accounts/password-attempts.test.ts' } as const
const randomBodies = { project: 'workerd', tests: 'test/workerd/web/random-bodies.test.ts' } as const
const utf8 = { project: 'unit', tests: 'test/unit/web/utf8.test.ts' } as const

const balancer = { project: 'unit', tests: 'test/unit/scripts/cluster/balancer.test.ts' } as const
const walk = { project: 'workerd', tests: 'test/workerd/web/shared-pages-walk.test.ts' } as const
const publicPages = { project: 'workerd', tests: 'test/workerd/web/public-pages.test.ts' } as const
const keyspaceAssignment = 'src/sharding/keyspace-assignment.ts'
const newKeyspaces = { project: 'unit', tests: 'test/unit/sharding/new-keyspaces.test.ts' } as const
const fleet = 'src/resharding/fleet.ts'
const placements = { project: 'unit', tests: 'test/unit/resharding/placements.test.ts' } as const
const purges = { project: 'workerd', tests: 'test/workerd/jobs/purges.test.ts' } as const
const cacheControl = 'src/web/middleware/cache-control.ts'

const compat = { project: 'workerd', tests: 'test/workerd/compat' } as const

const readThrough = 'src/cache/read-through.ts'
const cache = { project: 'unit', tests: 'test/unit/cache' } as const
const cachedReads = { project: 'workerd', tests: 'test/workerd/posts/cached-reads.test.ts' } as const
const cacheTrap = { project: 'e2e', tests: 'test/e2e/cache-trap.test.ts' } as const

const replicas = 'src/sharding/replicas.ts'
const replicaReads = { project: 'unit', tests: 'test/unit/sharding/replicas.test.ts' } as const
const causalToken = { project: 'unit', tests: 'test/unit/web/causal-token.test.ts' } as const
const replicatedWeb = { project: 'workerd', tests: 'test/workerd/web/replicas.test.ts' } as const
const edges = 'src/app/follows/edges.ts'
const edgeRepair = 'src/app/follows/repair.ts'
const follows = { project: 'workerd', tests: 'test/workerd/follows' } as const
const followRuns = { project: 'simulation', tests: 'test/simulation/follows' } as const
const jobsTogether = { project: 'workerd', tests: 'test/workerd/jobs/together.test.ts' } as const
const backfillChunk = 'src/jobs/backfill-chunk.ts'
const backfills = { project: 'unit', tests: 'test/unit/jobs/backfills.test.ts' } as const
const scatter = 'src/sharding/scatter.ts'
const scatterSql = 'src/sharding/scatter-query.ts'
const scatters = {
  project: 'unit',
  tests: 'test/unit/sharding/scatter.test.ts test/unit/sharding/scatter.property.test.ts',
} as const
const search = { project: 'unit', tests: 'test/unit/app/search/search.test.ts' } as const
const searches = { project: 'workerd', tests: 'test/workerd/search' } as const

const mover = 'src/resharding/move.ts'
const capture = { project: 'workerd', tests: 'test/workerd/resharding/bounded-capture.test.ts' } as const
const stuckMoves = { project: 'workerd', tests: 'test/workerd/resharding/stuck-moves.test.ts' } as const
const statements = { project: 'workerd', tests: 'test/workerd/resharding/statements-of-a-turn.test.ts' } as const

const mutants: Mutant[] = [
  {
    name: 'backfill: only rows whose slot takes writes here',
    file: backfillChunk,
    take: / {3}AND \$\{ownedHere\(backfill.*?\)\} AND /,
    leave: '   AND ',
    ...backfills,
  },
  {
    name: 'backfill: guard',
    file: backfillChunk,
    take: / AND \(\$\{backfill\.where\}\)/,
    leave: '',
    ...backfills,
  },
  {
    name: 'backfill: no slot is passed over',
    file: backfillChunk,
    take: / {2}for \(const error of failed\.values\(\)\) throw error\n/,
    leave: '',
    ...backfills,
  },
  {
    name: 'backfill: continues where the first shard stopped',
    file: backfillChunk,
    take: /\.sort\(\)/,
    leave: '.sort().reverse()',
    ...backfills,
  },
  {
    name: 'backfill: position after the chunk',
    file: 'src/jobs/backfills.ts',
    take: /\n( {4}const \{ after \} = await pace)/,
    leave: `
    const to = Math.min(Number.parseInt(slotOf(position.after), 16) + 300, Number.parseInt(position.last, 16))
    await keepPosition(tools, job, kept, (kept = { ...position, after: slotText(to) }))
$1`,
    ...backfills,
  },
  {
    name: 'backfill: one of two deliveries continues',
    file: 'src/jobs/positions.ts',
    take: / AND json\(body\) = json\(\?4\)/,
    leave: " AND ?4 <> ''",
    ...backfills,
  },
  {
    name: 'guard',
    file: 'src/sharding/guarded-batch.ts',
    take: /const GUARD = .*/,
    leave: "const GUARD = 'SELECT ?, ?'",
    ...sharding,
  },
  {
    name: 'a scatter’s shards asked for their own slots only',
    file: scatterSql,
    take: /`EXISTS \(SELECT 1 FROM banyan_slots.*?`/,
    leave: "'true'",
    ...scatters,
  },
  {
    name: 'one map per page of a scatter',
    file: scatter,
    take: /return !this\.#isLast && .*/,
    leave: 'return false',
    ...scatters,
  },
  {
    name: 'a scatter’s lease at the answer',
    file: scatter,
    take: /kind === 'read' && !holder\.stillVouchesFor\(held\)/,
    leave: 'clock.now() === 0',
    ...scatters,
  },
  {
    name: 'a scatter of a client who knows a newer epoch',
    file: 'src/sharding/map-holder.ts',
    take: /if \(held\.leaseUntil === 0\) return false/,
    leave: '',
    ...scatters,
  },
  {
    name: 'the keyspaces of a map of the same epoch',
    file: 'src/sharding/map-holder.ts',
    take: / && !addsKeyspace\(held\.map, wire\)/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/sharding/map-holder.test.ts',
  },
  {
    name: 'a change that an earlier request made, acknowledged with its bookmarks',
    file: 'src/app/accounts/handle-changes.ts',
    take: /idempotency\.foundDone\(\)/,
    leave: '',
    project: 'workerd',
    tests: 'test/workerd/web/replicas.test.ts',
  },
  {
    name: 'slots that a scatter’s shard does not serve',
    file: scatter,
    take: /throw new SlotRefusal\('SLOT_NOT_OWNED'\)/,
    leave: 'void 0',
    ...scatters,
  },
  {
    name: 'slots that a scatter’s shard has fenced',
    file: scatter,
    take: /throw new SlotRefusal\('SLOT_FENCED'\)/,
    leave: 'void 0',
    ...scatters,
  },
  {
    name: 'a scatter’s failed shards named',
    file: scatter,
    take: /this\.#failed\.push\(.*/,
    leave: '',
    ...scatters,
  },
  {
    name: 'the slots that a scatter missed',
    file: scatter,
    take: /this\.#missing\.push\(.*/,
    leave: '',
    ...scatters,
  },
  {
    name: 'a scatter’s cursor at the last row of the page',
    file: scatter,
    take: /\(rows\.at\(-1\)\?\.key/,
    leave: '(this.#rows.at(-1)?.key',
    ...scatters,
  },
  {
    name: 'a scatter’s texts in SQLite’s order',
    file: 'src/core/text-order.ts',
    take: /rankOf\(one\.charCodeAt\(at\)\) - rankOf\(other\.charCodeAt\(at\)\)/,
    leave: 'one.charCodeAt(at) - other.charCodeAt(at)',
    ...scatters,
  },
  {
    name: 'the end of a prefix after all characters',
    file: scatterSql,
    take: /prefixEnd\(prefix\)/,
    leave: "(prefix + '\\uffff')",
    ...searches,
  },
  {
    name: 'people once on a page of a search',
    file: 'src/app/search/search.ts',
    take: /return matched !== .*/,
    leave: 'return false',
    ...search,
  },
  {
    name: 'an incomplete page kept for seconds only',
    file: 'src/cache/entry.ts',
    take: /return partial\?\.is\(value\) .*/,
    leave: 'return null',
    ...searches,
  },
  ...(['INSERT', 'UPDATE', 'DELETE'] as const).map((event) => ({
    name: `${event.toLowerCase()} trigger`,
    file: firstTables,
    take: new RegExp(`(BEFORE ${event} ON \\S+ WHEN )`, 'g'),
    leave: '$1 0 AND ',
    ...sharding,
  })),
  {
    name: 'capture of changes',
    file: firstTables,
    take: /AND state = 'moving';/g,
    leave: "AND state = 'nothing';",
    ...sharding,
  },
  {
    name: 'changed primary key',
    file: firstTables,
    take: /SELECT RAISE\(ABORT, 'PRIMARY_KEY_CHANGED'\)/g,
    leave: 'SELECT 1',
    ...sharding,
  },
  {
    name: 'bound on a row',
    file: firstTables,
    take: /SELECT RAISE\(ABORT, 'ROW_TOO_LARGE'\)/g,
    leave: 'SELECT 1',
    ...sharding,
  },
  {
    name: 'form of triggers that D1’s API does not truncate',
    file: firstTables,
    take: /SELECT \(CASE (.*?) ELSE RAISE\(ABORT, 'SLOT_NOT_OWNED'\) END\);/g,
    leave: "SELECT CASE $1 ELSE RAISE(ABORT, 'SLOT_NOT_OWNED') END;",
    ...migrations,
  },
  {
    name: 'no writes to sharded rows in migrations',
    file: 'src/cli/migrations/migration-rules.ts',
    take: /\?\? refusedWrite\(statement, known\) /,
    leave: '',
    ...migrations,
  },
  {
    name: 'triggers that ignore a mover’s writes',
    file: 'src/cli/migrations/migration-rules.ts',
    take: / && !isSilent\(trigger\.when\)/,
    leave: " && trigger.name === ''",
    ...migrations,
  },
  {
    name: 'a builder’s names separate from a mover’s',
    file: 'src/resharding/rows.ts',
    take: /const column = .*/,
    leave: 'const column = (name: string): string => quotedName(name)',
    ...schemas,
  },
  {
    name: 'sums of wide tables in groups',
    file: 'src/core/sql-text.ts',
    take: /const chainMax = 10/,
    leave: 'const chainMax = 1_000',
    ...schemas,
  },
  {
    name: 'arrays of wide tables in groups',
    file: 'src/core/sql-text.ts',
    take: /const argumentsMax = 32/,
    leave: 'const argumentsMax = 1_000',
    ...schemas,
  },
  {
    name: 'a key’s name separate from the names of slots',
    file: 'src/sharding/shards.ts',
    take: /while \(column\.toLowerCase\(\)\.includes\(own\)\) own \+= '_'/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/sharding/shards.test.ts',
  },
  {
    name: 'the position of a fence’s keyspace',
    file: 'src/resharding/tables.ts',
    take: /AND instr\([\s\S]*?\) > 0/,
    leave: "AND instr(fences.sql, 'keyspace = ''' || ?1 || '''') > 0",
    ...schemas,
  },
  {
    name: 'mover’s step',
    file: 'migrations/shard/0000_shard.sql',
    take: /SELECT RAISE\(ABORT, 'STEP_MISMATCH'\)/,
    leave: 'SELECT 1',
    ...sharding,
  },
  {
    name: 'guard of a group',
    file: 'src/sharding/grouped-batches.ts',
    take: /'INSERT INTO slot_guard \(keyspace, slot\) SELECT \?, value FROM json_each\(\?\)'/,
    leave: "'SELECT ?, value FROM json_each(?)'",
    ...sharding,
  },
  {
    name: 'guard of a group, except its first slot',
    file: 'src/sharding/grouped-batches.ts',
    take: /'INSERT INTO slot_guard \(keyspace, slot\) SELECT \?, value FROM json_each\(\?\)'/,
    leave: "'INSERT INTO slot_guard (keyspace, slot) SELECT ?, value FROM json_each(?) LIMIT 1'",
    ...sharding,
  },
  {
    name: 'rows written by the capture',
    file: 'src/sharding/guarded-batch.ts',
    take: /answer\.meta\.changes - \(after - before\)/,
    leave: 'answer.meta.changes',
    ...routed,
  },
  {
    name: 'copies of bound buffers',
    file: 'src/sharding/bound-values.ts',
    take: /values\[index\] = copyOf\(value\)/,
    leave: 'copyOf(value)',
    project: 'workerd',
    tests: 'test/workerd/sharding/bound-values.test.ts',
  },
  {
    name: 'own names of RETURNING’s columns',
    file: 'src/sharding/row-arrays.ts',
    take: /if \(isPlain\(columns\)\) return/,
    leave: 'if (columns.length > 0) return',
    ...routed,
  },
  {
    name: 'own names of an exact query’s columns',
    file: 'src/sharding/row-arrays.ts',
    take: /sql: sql\.slice\(0, statement\[0\]\.start\) \+ subquery/,
    leave: 'sql: sql.slice(0, statement[0].start) + text.sql',
    ...routed,
  },
  {
    name: 'a failed write that was asked for its error changes nothing',
    file: 'src/sharding/router.ts',
    take: /, database\.prepare\(ABORT\)/,
    leave: '',
    ...routed,
  },
  {
    name: 'kinds of statements by tokens',
    file: 'src/sharding/statement-kind.ts',
    take: /isRead: isSingle && isCertain\(sql, tokens\) && reads\(statement\)/,
    leave: 'isRead: isSingle && /^(?:select|with)\\b/i.test(sql) && !/insert|update|delete|replace/i.test(sql)',
    ...routed,
  },
  {
    name: 'a statement with uncertain tokens is not a read',
    file: 'src/sharding/statement-kind.ts',
    take: / && isCertain\(sql, tokens\)/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/sharding/statement-kind.test.ts',
  },
  {
    name: 'the verb after WITH decides whether a statement reads',
    file: 'src/sharding/statement-kind.ts',
    take: /isWord\(statement\[verbAt\(statement\)\], 'SELECT', 'VALUES'\)/,
    leave: "isWord(statement[0], 'SELECT', 'VALUES', 'WITH')",
    project: 'unit',
    tests: 'test/unit/sharding/statement-kind.test.ts test/unit/sharding/statement-kind.property.test.ts',
  },
  {
    name: 'exact reads in their session',
    file: 'src/sharding/router.ts',
    take: /if \(this\.#session\) return this\.#session\.askPrimary\(shard, this\.#database\(shard\), send\)/,
    leave: '',
    project: 'workerd',
    tests: 'test/workerd/sharding/routed-database.test.ts',
  },
  {
    name: 'latest bookmark of a session',
    file: 'src/sharding/shard-session.ts',
    take: /this\.#seen === null \|\| this\.#seen < bookmark/,
    leave: 'bookmark',
    project: 'unit',
    tests: 'test/unit/sharding/shard-session.test.ts',
  },
  {
    name: 'late answers from a session’s former shard',
    file: 'src/sharding/shard-session.ts',
    take: / \|\| shard\.id !== this\.#shard\)/,
    leave: ')',
    project: 'unit',
    tests: 'test/unit/sharding/shard-session.test.ts',
  },
  {
    name: 'a statement’s own count of changes',
    file: 'src/sharding/guarded-batch.ts',
    take: /meta: \{ \.\.\.answer\.meta, changes \}/,
    leave: 'meta: answer.meta',
    ...sharding,
  },
  {
    name: 'state check of exact reads',
    file: 'src/sharding/router.ts',
    take: / {6}refuseUnlessOwned\(.*\n/,
    leave: '',
    ...sharding,
  },
  {
    name: 'lease checked on arrival',
    file: 'src/sharding/router.ts',
    take: /holder\.stillVouchesFor\(held\) \? answer : null/,
    leave: 'answer',
    ...sharding,
  },
  {
    name: 'lost answers of writes',
    file: 'src/sharding/router.ts',
    take: /const mayRepeat = .*/,
    leave: 'const mayRepeat = true',
    ...sharding,
  },
  {
    name: 'identity of a shard',
    file: 'src/sharding/directory.ts',
    take: /if \(!identity \|\| \(identity\.deployment === deployment && identity\.shard === shard\.id\)\) return/,
    leave: 'if (shard) return',
    ...sharding,
  },
  {
    name: 'bar',
    file: 'src/sharding/claims.ts',
    take: /return onlyRow\(found\)\.outcome === 'barred'/,
    leave: 'return true',
    ...accounts,
  },
  {
    name: 'owner’s attempt row',
    file: 'src/app/accounts/sign-up.ts',
    take: / {6}claims\.takeStatement\(database, attempt\),\n/,
    leave: '',
    ...accounts,
  },
  {
    name: 'repeated sign-up that has committed reserves nothing',
    file: 'src/app/accounts/sign-up.ts',
    take: /attempt\.isRepeated \? await resume\(tiers, attempt\.ownerId, request\.userAgent\) : null/,
    leave: 'null',
    ...accounts,
  },
  {
    name: 'end of the attempt of a handle that is given up',
    file: 'src/app/accounts/handle-changes.ts',
    take: /given && isOver\(given\)/,
    leave: 'given && isOver(given) && unchanged.sql.length === 0',
    ...handleChanges,
  },
  {
    name: 'end of the attempt of an address that is given up',
    file: 'src/app/accounts/email-changes.ts',
    take: /given\?\.attemptId\.startsWith\(PURPOSE\)/,
    leave: "given?.attemptId.startsWith('never')",
    ...emailChanges,
  },
  {
    name: 'retirement of this attempt’s claim only',
    file: 'src/sharding/claims.ts',
    take: /SET state = 'retired', attempt_id = \?, expires_at = \?\n {9}WHERE key = \? AND owner_id = \? AND attempt_id = \?/,
    leave: "SET state = 'retired', attempt_id = ?, expires_at = ? WHERE key = ? AND owner_id = ? AND ? IS NOT NULL",
    ...handleChanges,
  },
  {
    name: 'new attempt of a retired claim',
    file: 'src/sharding/claims.ts',
    take: /\.bind\(`\$\{RETIRED\}\$\{attempt\.attemptId\}`/,
    leave: '.bind(attempt.attemptId',
    ...handleChanges,
  },
  {
    name: 'retired claims are kept for their former owner',
    file: 'src/sharding/claims.ts',
    take: /claim\.expiresAt > this\.#clock\.now\(\) && !isTakenBack/,
    leave: "claim.expiresAt > this.#clock.now() && claim.state !== 'retired'",
    ...handleChanges,
  },
  {
    name: 'a claim that is taken back stays retired until it is confirmed',
    file: 'src/sharding/claims.ts',
    take: /const keepsRetired = held\.expiresAt > now/,
    leave: 'const keepsRetired = false',
    ...handleChanges,
  },
  {
    name: 'the old handle is retired only with the change',
    file: 'src/app/accounts/handle-changes.ts',
    take: /outboxStatementOnlyIf\(database, job, unchanged\)/,
    leave: "outboxStatementOnlyIf(database, job, { sql: '1', values: [] })",
    ...handleChanges,
  },
  {
    name: 'limit of kept handles',
    file: 'src/app/accounts/handle-changes.ts',
    take: /refuseTooMany\(retired, wanted\.value\)/,
    leave: 'void refuseTooMany',
    ...handleChanges,
  },
  {
    name: 'log-in by a value that the account has',
    file: 'src/app/accounts/accounts.ts',
    take: /admittedAccount\(tiers, attempted, ownerId, attempt, isHeldBy\(spec\)\)/,
    leave: 'admittedAccount(tiers, attempted, ownerId, attempt)',
    ...handleChanges,
  },
  {
    name: 'links to the old address end',
    file: 'src/app/accounts/email-changes.ts',
    take: /purpose IN \('verify-email', 'reset-password', 'change-email'\)/,
    leave: "purpose = 'change-email'",
    ...emailChanges,
  },
  {
    name: 'a reset needs its link in the batch',
    file: 'src/app/accounts/accounts.ts',
    take: /tokenId === undefined \? always : isResettable\(tokenId\)/,
    leave: 'tokenId === undefined ? always : (isResettable(tokenId), always)',
    ...emailChanges,
  },
  {
    name: 'no link to a previous address',
    file: 'src/app/accounts/accounts.ts',
    take: /onlyIf = hasAddress\(account\)/,
    leave: 'onlyIf = (hasAddress(account), always)',
    ...emailChanges,
  },
  {
    name: 'a new password ends a change of address',
    file: 'src/app/accounts/accounts.ts',
    take: /purpose IN \('reset-password', 'change-email'\)/,
    leave: "purpose = 'reset-password'",
    ...emailChanges,
  },
  {
    name: 'release of a lost reservation',
    file: 'src/sharding/claims.ts',
    take: /await this\.#releaseStatement\(database, key, attempt\)\.run\(\)/,
    leave: 'await Promise.resolve(database)',
    ...accounts,
  },
  {
    name: 'import’s marks for values that are not text',
    file: 'src/cli/import/rows.ts',
    take: /if \(oddity && code\) return .*/,
    leave: '',
    ...foreignFiles,
  },
  {
    name: 'import’s check of the bytes of U+FFFD',
    file: 'src/cli/import/staging.ts',
    take: /isDoubtful \? this\.#asStored\(n, source\) : source/,
    leave: 'source',
    ...foreignFiles,
  },
  {
    name: 'import’s double-quoted texts',
    file: 'src/cli/import/staging.ts',
    take: /enableDoubleQuotedStringLiterals: true/,
    leave: 'enableDoubleQuotedStringLiterals: false',
    ...foreignFiles,
  },
  {
    name: 'import’s place for rows that conflict',
    file: 'src/cli/import/sql-table.ts',
    take: /% 256 !== SQLITE_CONSTRAINT/,
    leave: '% 256 !== -1',
    ...foreignFiles,
  },
  {
    name: 'import’s question about escapes',
    file: 'src/cli/import/csv-table.ts',
    take: /this\.#hasNull && this\.#hasBackslash/,
    leave: 'false',
    ...foreignFiles,
  },
  {
    name: 'the server’s refusal of a NUL in an import',
    file: 'src/app/imports/records.ts',
    take: /!text\.includes\('\\0'\)/,
    leave: 'true',
    ...imports,
  },
  {
    name: 'a refused import stays barred',
    file: 'src/sharding/grouped-claims.ts',
    take: /having\('barred'\), committed: having\('taken'\)/,
    leave: 'outcome.done.map(({ attempt }) => attempt), committed: []',
    ...imports,
  },
  {
    name: 'an import’s open attempt',
    file: 'src/app/imports/imports.ts',
    take: /const isOpen = .*\n.*/,
    leave: 'const isOpen = "value ->> \'attempt\' IS NOT NULL ON CONFLICT DO NOTHING"',
    ...imports,
  },
  {
    name: 'an import’s attempt number',
    file: 'src/app/imports/imports.ts',
    take: /Math\.max\(-1, \.\.\.numbers\) \+ 1/,
    leave: '0',
    ...imports,
  },
  {
    name: 'an import claims in its own attempt',
    file: 'src/app/imports/imports.ts',
    take: /sha256Hex\(specs\.map\(claimKey\)\.join\(\)\)/,
    leave: "sha256Hex('')",
    ...imports,
  },
  {
    name: 'an import finds existing users',
    file: 'src/app/imports/imports.ts',
    take: /if \(taken\) meetAccount\(candidate, taken\.id\)/,
    leave: '',
    ...imports,
  },
  {
    name: 'session statement',
    file: 'src/sessions/sessions.ts',
    take: /'INSERT INTO session_guard \(id, now\) VALUES \(\?, \?\)'/,
    leave: "'SELECT ?, ?'",
    ...sessions,
  },
  {
    name: 'attempt check',
    file: 'src/resharding/move-records.ts',
    take: / {2}record\.attempt === seen\.attempt &&\n/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/resharding/move-records.test.ts',
  },
  {
    name: 'no batch outside its statements’ session',
    file: 'src/sharding/router.ts',
    take: /\(this\.#options\.mustHold === undefined \|\| .*\)/,
    leave: 'true',
    ...sessions,
  },
  {
    name: '60 s stamp',
    file: 'src/sessions/sessions.ts',
    take: /return age >= 0 && age < limits\.sessionStampMs/,
    leave: 'return true',
    ...sessions,
  },
  {
    name: 'session data changes only with the session statement',
    file: 'src/sessions/sessions.ts',
    take: /this\.database\(session, \{ operation: 'sessions\.write-data', idempotent: true \}\)/,
    leave: "this.#options.shards.of(session.userId, { operation: 'sessions.write-data', idempotent: true })",
    ...sessionData,
  },
  {
    name: 'size of a change of session data',
    file: 'src/sessions/session-data.ts',
    take: /> limits\.sessionDataBytesMax\) throw dataTooLarge\(\)/,
    leave: '< 0) throw dataTooLarge()',
    ...sessionData,
  },
  {
    name: 'size of all session data',
    file: 'src/sessions/sessions.ts',
    take: /AND length\(CAST\(changed\.data AS BLOB\)\) <= \?/,
    leave: 'AND ? > 0',
    ...sessionData,
  },
  {
    name: 'a changed password rotates the browser’s session',
    file: 'src/app/accounts/accounts.ts',
    take: /const minted = kept && rotates \? sessions\.mint\(userId, ''\) : null/,
    leave: "const minted = kept && rotates && userId === '' ? sessions.mint(userId, '') : null",
    ...rotation,
  },
  {
    name: 'a log-in ends the browser’s session of the same user',
    file: 'src/app/accounts/accounts.ts',
    take: /sessions\.replacement\(database, account\.id, replacedToken, /,
    leave: 'sessions.replacement(database, account.id, null, ',
    ...rotation,
  },
  {
    name: 'a log-in ends the browser’s session of another user',
    file: 'src/sessions/sessions.ts',
    take: /if \(token && token\.userId !== userId\) this\.#options/,
    leave: "if (token && token.userId === '') this.#options",
    ...rotation,
  },
  {
    name: 'only the right secret ends the browser’s session',
    file: 'src/sessions/sessions.ts',
    take: / AND \? IN \(secret_hash, retry_secret_hash\) AND/,
    leave: ' AND length(?) > 0 AND',
    ...rotation,
  },
  {
    name: 'throttle of guesses',
    file: 'src/app/accounts/password-attempts.ts',
    take: /if \(admitted === attemptId\) return/,
    leave: "if (admitted !== '') return",
    ...attempts,
  },
  {
    name: 'an attempt is admitted only after the wait',
    file: 'src/app/accounts/password-attempts.ts',
    take: /WHERE next_at <= \?3 AND attempt_id/,
    leave: 'WHERE attempt_id',
    ...attempts,
  },
  {
    name: 'an attempt is counted once',
    file: 'src/app/accounts/password-attempts.ts',
    take: / AND attempt_id <> excluded\.attempt_id/,
    leave: '',
    ...attempts,
  },
  {
    name: 'a log-in forgets only the attempts at its name',
    file: 'src/app/accounts/password-attempts.ts',
    take: /\(`DELETE FROM password_attempts WHERE id = \? AND /,
    leave: '(`DELETE FROM password_attempts WHERE substr(id, 1, 30) = substr(?, 1, 30) AND ',
    ...attempts,
  },
  {
    name: 'an unknown login is not in the slot of its claim',
    file: 'src/app/accounts/accounts.ts',
    take: /slotOf\(sha256Hex\(hmac\(settings\.signingKey, `nobody\.\$\{claimKey\(spec\)\}`\)\)\)/,
    leave: 'slotOf(sha256Hex(hmac(settings.signingKey, "")) && claimKey(spec))',
    ...attempts,
  },
  {
    name: 'a log-in of a program ends no session',
    file: 'src/app/accounts/routes.ts',
    take: /return isBrowser \? readCookie\(c, 'session'\) : null/,
    leave: "return isBrowser || c ? readCookie(c, 'session') : null",
    ...rotation,
  },
  {
    name: 'answers to writes clear no cookies of an ended session',
    file: 'src/web/middleware/session.ts',
    take: /if \(c\.req\.method === 'GET' \|\| c\.req\.method === 'HEAD'\) clearSessionCookies\(c\)/,
    leave: 'clearSessionCookies(c)',
    ...rotation,
  },
  {
    name: 'a refused log-in carries no causal token',
    file: 'src/web/middleware/causal-token.ts',
    take: / {4}if \(c\.res\.status === 401 \|\| c\.res\.status === 429\) return\n/,
    leave: '',
    project: 'workerd',
    tests: 'test/workerd/accounts/equal-answers.test.ts',
  },
  {
    name: 'password version of a log-in',
    file: 'src/app/accounts/accounts.ts',
    take: /'EXISTS \(SELECT 1 FROM accounts WHERE id = \? AND password_version = \?\)'/,
    leave: "'EXISTS (SELECT 1 FROM accounts WHERE id = ? AND password_version >= coalesce(?, 0) * 0)'",
    ...sessions,
  },
  {
    name: 'inbox',
    file: 'src/jobs/dispatch.ts',
    take: /await database\.batch\(\[row, \.\.\.statements\(database\)\]\)/,
    leave: 'await database.batch([database.prepare("SELECT 1"), ...statements(database)])',
    project: 'workerd',
    tests: 'test/workerd/jobs',
  },
  {
    name: 'age of a job',
    file: 'src/jobs/dispatch.ts',
    take: /if \(tooOld\) return .*/,
    leave: '',
    project: 'workerd',
    tests: 'test/workerd/jobs',
  },
  {
    name: 'bytes of a queue’s batch',
    file: 'src/jobs/queue-batches.ts',
    take: / && bytes <= bytesLeft/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/jobs',
  },
  {
    name: 'bytes of a message',
    file: 'src/jobs/relay.ts',
    take: /sizeRefusal\(job\) \?\? /,
    leave: '',
    project: 'workerd',
    tests: 'test/workerd/jobs',
  },
  {
    name: 'bytes per sweep',
    file: 'src/jobs/relay.ts',
    take: /WHERE total <= \?3 OR place = 1/,
    leave: 'WHERE total <= ?3 OR place > 0',
    project: 'workerd',
    tests: 'test/workerd/jobs',
  },
  {
    name: 'shares of the cron’s duties',
    file: 'src/jobs/duties.ts',
    take: /after \* share/,
    leave: '0 * after * share',
    project: 'unit',
    tests: 'test/unit/jobs',
  },
  {
    name: 'duties that take turns visit all shards',
    file: 'src/jobs/duties.ts',
    take: /duty\.run\(\{ \.\.\.window, turn: ownTurn \}\)/,
    leave: 'duty.run(window)',
    project: 'unit',
    tests: 'test/unit/jobs',
  },
  {
    name: 'shards that a budget suffices for',
    file: 'src/sharding/shards.ts',
    take: /Math\.floor\(window\.budget\.left \/ statementsPerShard\)/,
    leave: 'Number.POSITIVE_INFINITY',
    project: 'unit',
    tests: 'test/unit/jobs',
  },
  {
    name: 'budget of an invocation',
    file: 'src/objects/open-shards.ts',
    take: /budget\.meterOnUse\(isolate\.shards\)/,
    leave: 'isolate.shards',
    project: 'workerd',
    tests: 'test/workerd/jobs',
  },
  {
    name: 'one catch per message',
    file: 'src/jobs/dispatch.ts',
    take: /return this\.#failed\(job, kind, attempt, messageOf\(error\)\)/,
    leave: 'throw error',
    project: 'workerd',
    tests: 'test/workerd/jobs',
  },
  {
    name: 'capture stops after it is recorded',
    file: mover,
    take: /await records\.change\(seen\(this\.#record\), \{ capture: 'stop' \}, null\)/,
    leave: "({ outcome: 'recorded', record: this.#record } as const)",
    ...capture,
  },
  {
    name: 'reverse refused once the capture stopped',
    file: 'src/resharding/move-records.ts',
    take: / {6}if \(record\.captureStopped\) throw .*\n/,
    leave: '',
    ...capture,
  },
  {
    name: 'stop of the capture names its move',
    file: 'src/resharding/capture-watch.ts',
    take: /state = 'moving' AND move_id = \?3/,
    leave: "state = 'moving' AND ?3 <> ''",
    ...capture,
  },
  {
    name: 'an undo releases only its own slots',
    file: 'src/resharding/shard-side.ts',
    take: /AND move_id = \?5\n/,
    leave: "AND ?5 <> ''\n",
    ...stuckMoves,
  },
  {
    name: 'an undo deletes only its own slots',
    file: 'src/resharding/shard-side.ts',
    take: /AND state = \?3 AND move_id = \?4`,/,
    leave: "AND state = ?3 AND ?4 <> ''`,",
    ...stuckMoves,
  },
  {
    name: 'slots are activated only if both sides are as the commit left them',
    file: mover,
    take: /atSource\.filter\(\(slot\) => atTarget\.has\(slot\)\)/,
    leave: 'atTarget.size > 0 ? atSource : []',
    ...stuckMoves,
  },
  {
    name: 'a stuck move releases its lanes',
    file: 'src/resharding/move-records.ts',
    take: /stuck: reason, hasLanes: false/,
    leave: 'stuck: reason',
    ...stuckMoves,
  },
  {
    name: 'a stuck purge blocks no other move',
    file: 'src/resharding/move-table.ts',
    take: /WHEN \$\{text\('stuck'\)\} IS NOT NULL THEN 'none' /,
    leave: '',
    project: 'unit',
    tests: 'test/unit/resharding/lanes.test.ts',
  },
  {
    name: 'a directory that is unavailable in a cutover is asked again at once',
    file: mover,
    take: /(this\.#budget = new StatementBudget\(\)\n)( {4}const found)/,
    leave: '$1    this.#incarnation = null\n$2',
    project: 'workerd',
    tests: 'test/workerd/resharding/target-away.test.ts',
  },
  {
    name: 'a read-only database after the commit needs no operator',
    file: 'src/resharding/shard-side.ts',
    take: /answer\.sqliteCode === 'SQLITE_READONLY'/,
    leave: "answer.sqliteCode === 'SQLITE_NOTHING'",
    project: 'workerd',
    tests: 'test/workerd/resharding/full-databases.test.ts',
  },
  {
    name: 'a turn counts its statements',
    file: mover,
    take: /return this\.#budget\.left >= statements \+ limits\.moveStatementsKept/,
    leave: 'return statements >= 0',
    ...statements,
  },
  {
    name: 'a drain that may not fit ends the attempt',
    file: mover,
    take: / && this\.#hasStatements\(roundStatements\)/,
    leave: '',
    ...statements,
  },
  {
    name: 'epochs never decrease',
    file: 'src/sharding/map-holder.ts',
    take: /if \(held && held\.map\.epoch > wire\.epoch\) return held\.map/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/sharding',
  },
  {
    name: 'limit of a data centre’s copy',
    file: 'src/sharding/map-holder.ts',
    take: /await inTime\(this\.#clock, limits\.cacheWaitMs, call\(\)\)/,
    leave: 'await call()',
    project: 'unit',
    tests: 'test/unit/sharding/map-holder.test.ts',
  },
  {
    name: 'limit of a shard’s call',
    file: 'src/sharding/routing.ts',
    take: /return inTime\(clock, ms, send\(\)\)/,
    leave: 'return send()',
    ...timeLimits,
  },
  {
    name: 'time limit of a request',
    file: 'src/sharding/refusals.ts',
    take: /if \(!time\?\.isSpent\) return null/,
    leave: 'if (time !== null) return null',
    ...timeLimits,
  },
  {
    name: 'unknown outcome after a lost answer and a full database',
    file: 'src/sharding/router.ts',
    take: /if \(isUnapplied\(answer\)\) throw maybeApplied \?\? /,
    leave: 'if (isUnapplied(answer)) throw ',
    ...timeLimits,
  },
  {
    name: 'a session’s bookmark, or minBookmark if that is later',
    file: replicas,
    take: /return start === 'first-unconstrained' \|\| start < bookmark \? bookmark : start/,
    leave: "return start === 'first-unconstrained' ? bookmark : start",
    ...timeLimits,
  },
  {
    name: 'a read waits for slots that have just moved',
    file: replicas,
    take: /return later\(this\.#bookmarkOf\(shard\.id\), shard\.minBookmark \?\? null\)/,
    leave: 'return this.#bookmarkOf(shard.id)',
    ...replicaReads,
  },
  {
    name: 'the later of two bookmarks',
    file: replicas,
    take: /return one < other \? other : one/,
    leave: 'return one < other ? one : other',
    ...replicaReads,
  },
  {
    name: 'an own slot without a bookmark is read exactly',
    file: replicas,
    take: /return this\.#client\.isPartial \|\| this\.#client\.slots\.some\(isAsked\)/,
    leave: 'return false',
    ...replicaReads,
  },
  {
    name: 'a read falls back to the primary',
    file: 'src/sharding/replica-calls.ts',
    take: /place === 'primary' \? 'first-primary' : /,
    leave: '',
    ...replicaReads,
  },
  {
    name: 'exact reads go to the primary',
    file: 'src/sharding/replica-calls.ts',
    take: /replicas \? database\.withSession\('first-primary'\)/,
    leave: "replicas ? database.withSession('first-unconstrained')",
    project: 'workerd',
    tests: 'test/workerd/web/replicated-reads.test.ts',
  },
  {
    name: 'a group’s batch has a bookmark',
    file: 'src/sharding/grouped-batches.ts',
    take: /await noted\(connection\.batch<never>\(\[guard, \.\.\.statements\]\)\)/,
    leave: 'await connection.batch<never>([guard, ...statements])',
    ...replicaReads,
  },
  {
    name: 'a request that has written a shard reads its primary',
    file: 'src/sharding/router.ts',
    take: /!this\.#session && !this\.#hasWritten\(held\.map\)/,
    leave: '!this.#session',
    ...replicaReads,
  },
  {
    name: 'a replica’s value replaces a failed load of the cache',
    file: readThrough,
    take: /\.catch\(\(error\) => this\.#fromReplica\(key, options, error\)\)/,
    leave: '',
    project: 'workerd',
    tests: 'test/workerd/web/replicated-reads.test.ts',
  },
  {
    name: 'a dropped bookmark is remembered',
    file: 'src/web/causal-token.ts',
    take: /isPartial: token\.isPartial \|\| slots\.length > SLOTS_MAX \|\| shards\.length > SHARDS_MAX/,
    leave: 'isPartial: false',
    ...causalToken,
  },
  {
    name: 'a repeated answer carries its write’s bookmark',
    file: 'workers/context.ts',
    take: /replicas\?\.acknowledgeSeen\(\)/,
    leave: '',
    ...replicatedWeb,
  },
  {
    name: 'jobs do not read replicas',
    file: 'workers/context.ts',
    take: /const shards = opened\.shards\.atPrimary\(\)/,
    leave: 'const { shards } = opened',
    ...replicatedWeb,
  },
  {
    name: 'late slots of a first boot',
    file: 'src/sharding/directory.ts',
    take: /WHERE \(SELECT step FROM mover WHERE id = 1\) = 0 ON CONFLICT/,
    leave: 'WHERE true ON CONFLICT',
    project: 'unit',
    tests: 'test/unit/sharding/silent-shards.test.ts',
  },
  {
    name: 'lease from the earlier clock',
    file: 'src/sharding/map-holder.ts',
    take: /Math\.min\(wire\.issuedAt, askedAt\)/,
    leave: 'wire.issuedAt',
    project: 'unit',
    tests: 'test/unit/sharding',
  },
  {
    name: 'a move is woken when lanes become free',
    file: 'src/resharding/move-records.ts',
    take: /this\.#queue\.freed\(record\)/,
    leave: 'this.#queue.forget()',
    project: 'unit',
    tests: 'test/unit/resharding/lanes.test.ts',
  },
  {
    name: 'a move is woken when lanes become free, in the real objects',
    file: 'src/objects/directory-object.ts',
    take: /onRunnable: .*/,
    leave: 'onRunnable: () => undefined,',
    project: 'workerd',
    tests: 'test/workerd/resharding/queued-moves.test.ts',
  },
  {
    name: 'the outcome of a write without an answer is unknown',
    file: 'src/resharding/directory-operations.ts',
    take: /const plan: OperationRule = \{ kind: 'write'/,
    leave: "const plan: OperationRule = { kind: 'read'",
    project: 'unit',
    tests: 'test/unit/objects/directory-client.test.ts',
  },
  {
    name: 'the cron repairs a lost wake-up',
    file: 'src/objects/movers.ts',
    take: /return wakeMovers\(\{ engine, log \}, asleep, limits\.cronWakeMs\)/,
    leave: 'return asleep.length',
    project: 'workerd',
    tests: 'test/workerd/console/moves.test.ts',
  },
  {
    name: 'the cron checks moves that wait for free lanes',
    file: 'src/resharding/move-records.ts',
    take: /\[\.\.\.waiting, \.\.\.silent\]/,
    leave: '[...silent]',
    project: 'unit',
    tests: 'test/unit/resharding/lanes.test.ts',
  },
  {
    name: 'settled moves before planned ones',
    file: 'src/resharding/lanes.ts',
    take: /\(isDue \|\| !table\.hasDue\(shard\.id, clock\.now\(\)\)\)/,
    leave: 'true',
    project: 'unit',
    tests: 'test/unit/resharding/lanes.test.ts',
  },
  {
    name: 'slots that another move holds',
    file: 'src/resharding/move-planning.ts',
    take: /^ +this\.#refuse\((?:each|move), held\)$/gm,
    leave: '',
    project: 'unit',
    tests: 'test/unit/resharding/fleet.test.ts test/unit/resharding/planning-in-pieces.test.ts',
  },
  {
    name: 'one plan at a time',
    file: 'src/resharding/move-planning.ts',
    take: /return this\.#serial\.run\(work\)/,
    leave: 'return work()',
    project: 'unit',
    tests: 'test/unit/resharding/planning-in-pieces.test.ts',
  },
  {
    name: 'moves that an interrupted request had recorded',
    file: 'src/resharding/move-planning.ts',
    take: /parts\.add\(piece\.map\(\(\{ id \}\) => id\)\)/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/resharding/planning-in-pieces.test.ts',
  },
  {
    name: 'room at the target',
    file: 'src/resharding/move-planning.ts',
    take: /refuseLackOfRoom\(target, .*/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/resharding/room.test.ts',
  },
  {
    name: 'epoch of the encoded map',
    file: 'src/sharding/directory.ts',
    take: /if \(this\.#encoded\?\.epoch !== epoch\) \{/,
    leave: 'if (this.#encoded === null || epoch < 0) {',
    project: 'unit',
    tests: 'test/unit/sharding/directory.test.ts',
  },
  {
    name: 'sessions end before a restored shard serves requests',
    file: 'src/cli/restore/revived.ts',
    take: /await revokeAll\(platform, databaseId, tables\)/,
    leave: '{}',
    ...restores,
  },
  {
    name: 'every batch of the probe is aborted',
    file: 'src/sharding/probe.ts',
    take: /\[MARK, \.\.\.one\.statements, ABORT\]/,
    leave: '[MARK, ...one.statements]',
    ...probes,
  },
  {
    name: 'the probe compares the values it read',
    file: 'src/sharding/probe.ts',
    take: /ok: met === one\.expected/,
    leave: 'ok: true',
    ...probes,
  },
  {
    name: 'password versions never decrease',
    file: 'src/cli/restore/revived.ts',
    take: /if \(listed\) await raiseListed\(.*\)/,
    leave: '',
    ...restores,
  },
  {
    name: 'bytes that are not UTF-8 are refused',
    file: 'src/web/utf8.ts',
    take: /fatal: true/,
    leave: 'fatal: false',
    ...randomBodies,
  },
  {
    name: 'a byte order mark is text',
    file: 'src/web/utf8.ts',
    take: /ignoreBOM: true/,
    leave: 'ignoreBOM: false',
    ...randomBodies,
  },
  {
    name: 'escapes of a form are UTF-8',
    file: 'src/web/middleware/body.ts',
    take: / \|\| !hasUtf8Escapes\(text\)/,
    leave: '',
    ...randomBodies,
  },
  {
    name: 'half a surrogate pair is refused',
    file: 'src/web/api.ts',
    take: /text\.isWellFormed\(\)/,
    leave: 'text !== null',
    ...randomBodies,
  },
  {
    name: 'headers are UTF-8',
    file: 'src/web/middleware/utf8.ts',
    take: /if \(wrong\)/,
    leave: 'if (wrong && next === undefined)',
    ...utf8,
  },
  {
    name: 'escapes of a cookie are UTF-8',
    file: 'src/web/middleware/utf8.ts',
    take: /ownCookies\(c\)\.every\(hasUtf8Escapes\)/,
    leave: 'true',
    ...utf8,
  },
  {
    name: 'escapes of an address are UTF-8',
    file: 'src/web/middleware/utf8.ts',
    take: /!hasUtf8Escapes\(c\.req\.url\)/,
    leave: 'false',
    project: 'workerd',
    tests: 'test/workerd/web/utf8.test.ts',
  },
  {
    name: 'a display name is visible',
    file: 'src/app/profiles/shapes.ts',
    take: /\.refine\(isVisible, .*\)/,
    leave: '',
    project: 'workerd',
    tests: 'test/workerd/profiles/names.test.ts',
  },
  {
    name: 'a balancer sends no write to two web servers',
    file: 'scripts/cluster/balancer.ts',
    take: /if \(lost\.mayBeApplied && !isSafe\) break/,
    leave: '',
    ...balancer,
  },
  {
    name: 'a half answer is no whole answer',
    file: 'scripts/cluster/balancer.ts',
    take: /pipeline\(answer, response, /,
    leave: "answer.on('close', () => response.end()).pipe(response, { end: false }).on('finish', ",
    ...balancer,
  },
  {
    name: 'compatibility: copies of bound values',
    file: 'src/sharding/bound-values.ts',
    take: /values\[index\] = copyOf\(value\)/,
    leave: 'copyOf(value)',
    ...compat,
  },
  {
    name: 'compatibility: arrays from arrays',
    file: 'src/sharding/router.ts',
    take: /const form = arraysForm\(statement\)/g,
    leave: 'const form = { ...statement, isOwn: true, keys: null, names: null, isNamed: true, repeatsKeys: false }',
    ...compat,
  },
  {
    name: 'compatibility: kinds of statements by tokens',
    file: 'src/sharding/statement-kind.ts',
    take: /isRead: isSingle && isCertain\(sql, tokens\) && reads\(statement\)/,
    leave:
      'isRead: isSingle && /^(?:select|with)\\b/i.test(sql) && !/;\\s*\\S|insert|update|delete|replace/i.test(sql)',
    ...compat,
  },
  {
    name: 'compatibility: literals as tokens',
    file: 'src/core/sql-tokens.ts',
    take: /`\('\[\^'\]\*\(\?:''\[\^'\]\*\)\*'\)`/,
    leave: "'((?!))'",
    ...compat,
  },
  {
    name: 'a cache’s load outlives its request',
    file: readThrough,
    take: /waitUntil\(settled\.promise\)/,
    leave: '',
    ...cacheTrap,
  },
  {
    name: 'how long a reader waits for another’s load',
    file: readThrough,
    take: /isLeader \? leftMs : Math\.min\(leftMs, limits\.cacheJoinMs\)/,
    leave: 'leftMs',
    ...cache,
  },
  {
    name: 'time limit of a cached read',
    file: readThrough,
    take: /const endsAt = this\.#now \+ limits\.cacheReadMs/,
    leave: 'const endsAt = this.#now + 3_600_000',
    ...cache,
  },
  {
    name: 'time limit of a reader who has a stale value',
    file: readThrough,
    take: /kept \? endsAt - limits\.cacheReadMs \+ limits\.cacheSoftMs : endsAt/,
    leave: 'endsAt',
    ...cache,
  },
  {
    name: 'a stale reader never waits',
    file: readThrough,
    take: /isShowable\(entry, policy, now\) \? (\{.*\}) : null/,
    leave: 'null',
    ...cache,
  },
  {
    name: 'bound of the grace period',
    file: readThrough,
    take: /held && this\.#now < held\.at \+ ageMsMax\(held, policy\)/,
    leave: 'held',
    ...cache,
  },
  {
    name: 'bound of the grace period of a failed load',
    file: readThrough,
    take: /fallbackToCache: .*,/,
    leave: 'fallbackToCache: Infinity,',
    ...cache,
  },
  {
    name: 'age of a copy in KV',
    file: readThrough,
    take: / \|\| !isYounger\(entry, ageMsMax\(entry, policy\), now\)/,
    leave: '',
    ...cache,
  },
  {
    name: 'version floor of copies in KV',
    file: 'src/cache/known-versions.ts',
    take: /(admitsCopy[\s\S]*?)return entry\.version >= known\.version/,
    leave: '$1return true',
    ...cache,
  },
  {
    name: 'version floor of loads',
    file: 'src/cache/known-versions.ts',
    take: /!known \|\| entry\.at > known\.at/,
    leave: 'true',
    ...cache,
  },
  {
    name: 'version floor of evicted entries',
    file: 'src/cache/isolate-cache.ts',
    take: /this\.versions\.remember\(key, knownOf\(held\), now\(\)\)/,
    leave: 'void knownOf(held)',
    ...cache,
  },
  {
    name: 'version floor of a client’s own reads',
    file: readThrough,
    take: /isolate\.learn\(key, entry\)/,
    leave: '',
    ...cache,
  },
  {
    name: 'a client’s own slots are not read from the cache',
    file: readThrough,
    take: /ownSlots === 'all' \|\| ownSlots\.has\(slotOf\(id\)\)/,
    leave: 'slotOf(id) === ""',
    ...cache,
  },
  {
    name: 'a deletion has no version',
    file: readThrough,
    take: /if \(entry\.version === null\) this\.invalidate\(key\)\s*else if/,
    leave: 'if',
    ...cache,
  },
  {
    name: 'negative entries from exact reads only',
    file: readThrough,
    take: /options\.load\('exact'\)/,
    leave: "options.load('lease')",
    ...cachedReads,
  },
  {
    name: 'negative entries are never stale',
    file: 'src/cache/entry.ts',
    take: /shortMs\(value, policy\) === null \? policy\.staleWhileRevalidateMs : 0/,
    leave: 'policy.staleWhileRevalidateMs',
    ...cache,
  },
  {
    name: 'bound of the memory',
    file: 'src/cache/memory.ts',
    take: /while \(this\.#bytes > this\.#bytesMax\) this\.#evictOne\(\)/,
    leave: '',
    ...cache,
  },
  {
    name: 'KV’s limit of 250 ms',
    file: 'src/cache/kv-store.ts',
    take: /await inTime\(this\.#clock, ms, call\(\), .*\)/,
    leave: 'await call()',
    ...cache,
  },
  {
    name: 'shared pages: a Cache-Control for each answer',
    file: cacheControl,
    take: / {4}else if \(!isOk\(status\).*/,
    leave: '',
    ...walk,
  },
  {
    name: 'shared pages: private after a look for a cookie',
    file: 'src/web/cookies.ts',
    take: /if \(hasOwnCookie\(c\)\) markPersonal\(c\)/,
    leave: '',
    ...walk,
  },
  {
    name: 'shared pages: private for a token',
    file: 'src/web/middleware/session.ts',
    take: /if \(token\) markPersonal\(c\)/,
    leave: '',
    project: 'unit',
    tests: 'test/unit/web/cache-control.test.ts',
  },
  {
    name: 'shared pages: no errors',
    file: cacheControl,
    take: /status === 200 && sharing/,
    leave: 'sharing',
    ...walk,
  },
  {
    name: 'shared pages: no hand-over with a cookie',
    file: 'src/web/middleware/hand-over.ts',
    take: / && !hasOwnCookie\(c\)/,
    leave: '',
    ...walk,
  },
  {
    name: 'shared pages: no hand-over with a token',
    file: 'src/web/middleware/hand-over.ts',
    take: / && !hasToken/,
    leave: '',
    ...walk,
  },
  {
    name: 'shared pages: the answering route’s own declaration',
    file: 'src/web/middleware/hand-over.ts',
    take: /\.find\(\(\{ method \}\) => method === 'GET'\)/,
    leave: '.find(({ handler }) => declaredSharing(handler))',
    project: 'unit',
    tests: 'test/unit/web/hand-over.test.ts',
  },
  {
    name: 'shared pages: nothing of a client in the request',
    file: 'src/web/public-pages.ts',
    take: /const search = .*/,
    leave: 'const { search } = new URL(url)\n  read.at(0)',
    ...publicPages,
  },
  {
    name: 'shared pages: nothing of one request in the cache',
    file: 'src/web/public-pages.ts',
    take: /const kept = .*/,
    leave: 'const kept = [...answer.headers.keys()].flatMap((name) => {',
    ...publicPages,
  },
  {
    name: 'purges: in the batch of the deletion',
    file: 'src/app/posts/posts.ts',
    take: / *purges: purges\.map.*/,
    leave: '',
    project: 'workerd',
    tests: 'test/workerd/posts/shared-pages.test.ts',
  },
  {
    name: 'purges: one call for a batch',
    file: 'src/jobs/purges.ts',
    take: /this\.#tags\.has\(tag\)/,
    leave: 'tag === ""',
    ...purges,
  },
  {
    name: 'purges: again, when no isolate has the row',
    file: 'src/jobs/purges.ts',
    take: /ageMs\(message\) < limits\.purgeAgainMs/,
    leave: 'ageMs(message) === Number.POSITIVE_INFINITY',
    ...purges,
  },
  {
    name: 'new keyspace: no slots after the mover’s step has changed',
    file: keyspaceAssignment,
    take: /WHERE \(SELECT step FROM mover WHERE id = 1\) = \?5/,
    leave: 'WHERE ?5 = ?5',
    ...newKeyspaces,
  },
  {
    name: 'new keyspace: no slots after another object has published it',
    file: keyspaceAssignment,
    take: /(has published the keyspace\.\n *)if \(!this\.#find\(keyspace\)\) return/,
    leave: '$1',
    ...newKeyspaces,
  },
  {
    name: 'new keyspace: published last',
    file: keyspaceAssignment,
    take: / WHERE keyspace NOT IN \(SELECT name FROM planned_keyspaces\)/,
    leave: '',
    ...newKeyspaces,
  },
  {
    name: 'new keyspace: all slots found at the shard',
    file: keyspaceAssignment,
    take: /if \(found\.results\[0\]\?\.slots === slots\) return/,
    leave: 'if (found) return',
    ...newKeyspaces,
  },
  {
    name: 'new keyspace: not at a shard that is being restored',
    file: keyspaceAssignment,
    take: /if \(shard\.state === 'serving' \|\| shard\.state === 'draining'\) return shard/,
    leave: 'if (shard) return shard',
    ...newKeyspaces,
  },
  {
    name: 'new keyspace: a map without it is not used for it',
    file: 'src/sharding/routing.ts',
    take: /map && !map\.has\(keyspace\)/,
    leave: 'false',
    ...newKeyspaces,
  },
  {
    name: 'removal of a shard: slots of a keyspace that the map does not have yet',
    file: 'src/sharding/directory.ts',
    take: /SELECT DISTINCT keyspace FROM runs WHERE shard = \?/,
    leave: '$& AND keyspace NOT IN (SELECT name FROM planned_keyspaces)',
    ...newKeyspaces,
  },
  {
    name: 'placement: a rebalance leaves it',
    file: fleet,
    take: /endsPlacements \? null : this\.#directory\.placementOf\(keyspace\)/,
    leave: 'null as ShardEntry | null',
    ...placements,
  },
  {
    name: 'placement: its shard stays reserved',
    file: 'src/resharding/planner.ts',
    take: /!shard\.isReserved && /,
    leave: '',
    ...placements,
  },
  {
    name: 'placement: ends when a rebalance names the keyspace',
    file: fleet,
    take: /if \(request\.endsPlacements\) for .*/,
    leave: '',
    ...placements,
  },
  {
    name: 'purges: apart',
    file: 'src/jobs/purges.ts',
    take: / *await clock\.sleep\(Math\.max\(0, calledAt.*/,
    leave: '',
    ...purges,
  },
  {
    name: 'follows: versions of edges',
    file: edges,
    take: /version = excluded\.version WHERE excluded\.version > followers\.version/,
    leave: 'version = excluded.version',
    ...followRuns,
  },
  {
    name: 'follows: a count changes with newer versions only',
    file: edges,
    take: /edge\.value ->> 'version' > coalesce\(known\.version, 0\) AND/,
    leave: '',
    ...followRuns,
  },
  {
    name: 'follows: an edge to a deleted account is taken back',
    file: edges,
    take: /if \(gone\.length > 0\)/,
    leave: 'if (gone.length < 0)',
    ...followRuns,
  },
  {
    name: 'follows: tombstones',
    file: 'src/app/follows/jobs.ts',
    take: /limits\.inboxDays \* DAY_MS/,
    leave: '0',
    ...follows,
  },
  {
    name: 'follows: the job exists only if the edge changes',
    file: 'src/app/follows/follows.ts',
    take: /\(known\.id IS NULL OR known\.ended_at IS NOT NULL\)/,
    leave: '1',
    ...follows,
  },
  {
    name: 'follows: the repair delivers lost edges',
    file: edgeRepair,
    take: /\(copy \? copy\.version < side\.version : side\.endedAt === null\)/,
    leave: 'copy === undefined',
    ...followRuns,
  },
  {
    name: 'follows: the repair ends unfounded edges',
    file: edgeRepair,
    take: /else if \(side \? .*/,
    leave: '',
    ...follows,
  },
  {
    name: 'follows: the repair counts again',
    file: edgeRepair,
    take: /AND \(followers <> .*RETURNING id/,
    leave: 'AND 0 RETURNING id',
    ...followRuns,
  },
  {
    name: 'groups that only read check their slots',
    file: 'src/sharding/grouped-batches.ts',
    take: /if \(isRead\) refuseUnlessServed\(items, guarded\)/,
    leave: 'guarded?.results',
    project: 'unit',
    tests: 'test/unit/sharding/grouped-reads.test.ts',
  },
  {
    name: 'jobs that run together: verdicts of their own',
    file: 'src/jobs/dispatch.ts',
    take: /if \(!failed\.has\(job\)\) return/,
    leave: 'if (failed.size === 0) return',
    ...jobsTogether,
  },
]

const values = readOptions({ only: { type: 'string' } })
const chosen = mutants.filter(({ name }) => !values.only || name === values.only)
if (chosen.length === 0) {
  console.error(`There is no mutant "${values.only}". Mutants: ${mutants.map(({ name }) => name).join(', ')}.`)
  process.exit(1)
}

const copy = new MutatedCopy('tests')
const survivors: string[] = []
for (const [index, mutant] of chosen.entries()) {
  const startedAt = performance.now()
  const red = isRed(mutant)
  if (!red) survivors.push(mutant.name)
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0)
  console.log(
    `${String(index + 1).padStart(2)}/${chosen.length}  ${red ? `red (${red})` : 'STILL GREEN'}  without: ${mutant.name}  ${seconds} s`,
  )
}
copy.remove()
console.log(
  survivors.length === 0
    ? `\nAll ${chosen.length} make a test fail.`
    : `\nNo test fails without: ${survivors.join(', ')}`,
)
process.exitCode = survivors.length === 0 ? 0 : 1

/**
 * The number of tests that fail without the safeguard, or null if none fails. Throws if the run's output cannot be
 * read.
 */
function isRed({ name, project, tests, ...cut }: Mutant): string | null {
  return copy.without([cut], () => {
    const report = path.join(copy.folder, 'report.json')
    rmSync(report, { force: true })
    const args = ['run', '--project', project, ...tests.split(' '), '--reporter', 'json', '--outputFile', report]
    spawnSync('vitest', args, { cwd: copy.folder, stdio: 'ignore' })
    const { numFailedTests, numPassedTests } = JSON.parse(readFileSync(report, 'utf8')) as Record<string, number>
    if (numFailedTests! + numPassedTests! === 0)
      throw new Error(`No test ran for the mutant "${name}" (${readdirSync(copy.folder)}).`)
    return numFailedTests === 0 ? null : `${numFailedTests} tests`
  })
}
