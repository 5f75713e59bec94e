/**
 * `npm run simulate:mutants [-- --only NAME] [--seeds 4000]`: removes one safeguard in a copy of the tree, and runs the
 * simulation until it finds a violation. If another safeguard backs it up, both are removed together; a seed counts
 * only if it is sound with the other alone removed. Exits 1 if no violation was found. Violations that only an
 * exhaustive search finds are mutants of the model (`npm run model`).
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'
import { type Cut, MutatedCopy } from './mutated-copy.ts'
import { readOptions, wholeOption } from './options.ts'

interface Mutant {
  name: string
  cuts: Cut[]
  /** Another safeguard to remove too, because either alone prevents the violation. */
  with?: { name: string; cuts: Cut[] }
  /** All seeds have replicas. */
  isReplicated?: boolean
}

/** Seeds per run with both removed, and then with one. Few, because each run must end before the next is checked. */
const PAIR_SEEDS = 100

const cut = (file: string, take: RegExp, leave: string): Cut => ({ file, take, leave })

const mover = 'src/resharding/move.ts'
const carrier = 'src/resharding/carrier.ts'
const records = 'src/resharding/move-records.ts'
const router = 'src/sharding/router.ts'
const mapHolder = 'src/sharding/map-holder.ts'
const replicas = 'src/sharding/replicas.ts'
const readThrough = 'src/cache/read-through.ts'
const shard = 'migrations/shard/0000_shard.sql'
const tables = 'migrations/shard/0001_first_tables.sql'

const noGuard = cut('src/sharding/guarded-batch.ts', /const GUARD = .*/, "const GUARD = 'SELECT ?, ?'")
const noStep = cut(shard, /SELECT RAISE\(ABORT, 'STEP_MISMATCH'\) WHERE [^;]*;/, 'SELECT 1;')
const noExpectation = cut(
  'migrations/shard/0002_moves.sql',
  /SELECT RAISE\(ABORT, 'SLOT_STATE_UNEXPECTED'\) WHERE/,
  'SELECT 1 WHERE',
)
const step = { name: 'step', cuts: [noStep] }
const noVerification = cut(mover, /if \(this\.#options\.verifies \?\? true\)/, 'if (false)')
const verification = { name: 'verification', cuts: [noVerification] }
const noTrigger = (event: 'INSERT' | 'UPDATE' | 'DELETE') =>
  cut(tables, new RegExp(`(BEFORE ${event} ON \\S+ WHEN )`, 'g'), '$1 0 AND ')
/** For a mover that asks for nothing while its move settles. */
const noMoverWait = cut(
  mover,
  /if \(found\.state === 'settling' && settleTime\(found\) > this\.#options\.clock\.now\(\)\)/,
  'if (false)',
)
const noPurgeWait = cut(records, /if \(settleTime\(record\) > now\) return/, 'if (now < 0) return')

const accounts = 'src/app/accounts/accounts.ts'
const imports = 'src/app/imports/imports.ts'
const posts = 'src/app/posts/posts.ts'
/** Row triggers refuse nothing, but still capture. */
const noRefusal = cut(tables, /RAISE\(ABORT, 'SLOT_(?:FENCED|NOT_OWNED)'\)/g, 'NULL')
const noOwnedHere = cut('src/jobs/housekeeping.ts', / AND \$\{shard\.ownedHere\('id'\)\}/, '')

const mutants: Mutant[] = [
  { name: 'guard', cuts: [noGuard] },
  {
    name: 'guard of a group',
    cuts: [cut('src/sharding/grouped-batches.ts', /const GUARD = .*/, "const GUARD = 'SELECT ?, ?'")],
  },
  { name: 'housekeeping names slots that take writes', cuts: [noOwnedHere] },
  {
    name: 'housekeeping deletes only in slots that take writes',
    cuts: [noOwnedHere],
    with: { name: 'row triggers refuse', cuts: [noRefusal] },
  },
  {
    name: 'an edit after one of unknown outcome',
    cuts: [
      cut(
        posts,
        /const \{ edited, found \} = await batchByName\(database, \{/,
        `if (doubtful.delete(id)) return { id, text } as Post
  const { edited, found } = await doubted(database, tiers, id, text, {`,
      ),
      cut(
        posts,
        /(export async function editPost[\s\S]*?bind\(id\)\),\n {2}\}\))/,
        `const doubtful = new Set<string>()
/** Keeps the id of a post whose edit was applied, and its answer lost. */
async function doubted<B extends NamedBatch>(database: D1Database, tiers: PostTiers, id: string, text: string, batch: B) {
  try {
    return await batchByName(database, batch)
  } catch (error) {
    if ((error as { code?: string }).code === 'OUTCOME_UNKNOWN' && (await findPost(tiers, id))?.text === text) doubtful.add(id)
    throw error
  }
}

$1`,
      ),
    ],
  },
  {
    name: 'a changed password ends sessions',
    cuts: [cut(accounts, /DELETE FROM sessions WHERE user_id = \? AND id <> \? AND/, '$& 0 AND')],
  },
  {
    name: 'a session is created only while the checked password is current',
    cuts: [
      cut(
        accounts,
        /sessions\.insert\(database, minted, passwordIs\(account\)\)/,
        "sessions.insert(database, minted, { sql: '1', values: [] })",
      ),
    ],
  },
  {
    name: 'an import confirms its claims',
    cuts: [
      cut(imports, /await confirm\(\n {4}claims,\n {4}all\.filter\(\(one\) => isHere\(one\.outcome\)\),\n {2}\)\n/, ''),
    ],
  },
  {
    name: 'an import confirms no other attempt’s claims',
    cuts: [cut(imports, /return takenId === .* \? \[\] : candidate\.claims\.splice\(0\)/, 'return takenId ? [] : []')],
  },
  {
    name: 'a read-only database refuses no import permanently',
    cuts: [cut(imports, /const isPermanent = !isReadOnly && /, 'const isPermanent = isReadOnly || ')],
  },
  {
    name: 'a limit for KV',
    cuts: [cut('src/cache/kv-store.ts', /await inTime\(this\.#clock, ms, call\(\), .*\)/, 'await call()')],
  },
  {
    name: 'a client’s own slots are not read from the cache',
    cuts: [cut(readThrough, /ownSlots === 'all' \|\| ownSlots\.has\(slotOf\(id\)\)/, "slotOf(id) === ''")],
  },
  {
    name: 'a limit for the data centre’s cache',
    cuts: [
      cut('src/sharding/map-holder.ts', /await inTime\(this\.#clock, limits\.cacheWaitMs, call\(\)\)/, 'await call()'),
    ],
  },
  {
    name: 'a turn counts its statements',
    cuts: [cut('src/sharding/statement-budget.ts', / {4}this\.#sent \+= statements\n/, '')],
  },
  {
    name: 'a body that is too large for a message stays in its row',
    cuts: [cut('src/jobs/queue-batches.ts', /messageBytes\(job\) > limits\.queueMessageBytesMax/, 'job.id === ""')],
  },
  {
    name: 'the cron wakes moves whose wake-up was lost',
    cuts: [cut(records, /( {2}movesToWake\(limit: number\): string\[\] \{\n)/, '$1    if (limit > 0) return []\n')],
  },
  {
    name: 'the directory knows before a capture stops',
    cuts: [
      cut(
        mover,
        / {6}const answer = await records\.change\(seen\(this\.#record\), \{ capture: 'stop' \}, null\)\n.*\n {6}this\.#record = answer\.record\n/,
        '',
      ),
    ],
  },
  {
    name: 'no reverse after a capture has stopped',
    cuts: [cut(records, / {6}if \(record\.captureStopped\) throw .*\n/, '')],
  },
  {
    name: 'an interrupted plan is not made twice',
    cuts: [cut('src/resharding/move-planning.ts', / {8}parts\.add\(piece\.map\(.*\n/, '')],
  },
  {
    name: 'a full disk does not mean an unknown outcome',
    cuts: [cut('src/sharding/answers.ts', / {2}\[\/\\bSQLITE_FULL.*\n/, '')],
  },
  { name: 'insert trigger', cuts: [noTrigger('INSERT')] },
  { name: 'update trigger', cuts: [noTrigger('UPDATE')] },
  { name: 'delete trigger', cuts: [noTrigger('DELETE')] },
  { name: 'capture of changes', cuts: [cut(tables, /AND state = 'moving';/g, "AND state = 'nothing';")] },
  { name: 'step', cuts: [noStep] },
  // The verification misses rows that a late purge deletes, if it has already passed.
  {
    name: 'from-state check',
    cuts: [noExpectation],
    with: { name: 'step and verification', cuts: [noStep, noVerification] },
  },
  { name: 'attempt check', cuts: [cut(records, / {2}record\.attempt === seen\.attempt &&\n/, '')] },
  {
    name: 'un-fence known to the directory',
    cuts: [cut(mover, / {4}await this\.#recordAttempt\('un-fence'\)\n/, '')],
  },
  {
    name: 'lease',
    cuts: [
      cut(
        'src/sharding/map-holder.ts',
        /return isWithin\(leaseUntil - this\.#clock\.now\(\), this\.#leaseMs\)/,
        'return leaseUntil > 0',
      ),
    ],
  },
  { name: 'wait before a purge', cuts: [noPurgeWait], with: { name: 'the mover waits', cuts: [noMoverWait] } },
  { name: 'window', cuts: [cut(carrier, /SET open = 0, move_id/, 'SET move_id')] },
  {
    name: 'final drain',
    cuts: [
      cut(
        carrier,
        /return !\(await this\.#round\(\{ operation: 'fence', prelude, isLast: true \}\)\)\.isBehind/,
        "await this.#source.batch('fence', { prelude })\n    return true",
      ),
    ],
  },
  {
    name: 'verification',
    cuts: [noVerification],
    with: {
      name: 'the tail’s rows are written',
      cuts: [cut(carrier, /\.\.\.upserts\(tail\.table, tail\)\]/, ']')],
    },
  },
  {
    name: 'exact values',
    cuts: [cut('src/resharding/rows.ts', /plain !== null && \(plain\.length > .*\)/, 'plain === ""')],
    with: verification,
  },
  {
    name: 'travelling idempotency keys',
    cuts: [
      cut(
        'src/resharding/tables.ts',
        /WHERE fences\.type = 'trigger'/,
        "WHERE tables.name <> 'idempotency_keys' AND fences.type = 'trigger'",
      ),
    ],
  },
  { name: 'retry rule', cuts: [cut(router, /const mayRepeat = .*/, 'const mayRepeat = true')] },
  {
    name: 'bar',
    cuts: [cut('src/sharding/claims.ts', /return onlyRow\(found\)\.outcome === 'barred'/, 'return true')],
  },
  {
    name: 'session statement',
    cuts: [
      cut('src/sessions/sessions.ts', /'INSERT INTO session_guard \(id, now\) VALUES \(\?, \?\)'/, "'SELECT ?, ?'"),
    ],
  },
  {
    name: 'captured changes stay until the target has them',
    cuts: [
      cut(
        carrier,
        /statement\('DELETE FROM slot_changes WHERE move_id = \? AND seq <= \?', id, seq\)/,
        "statement('DELETE FROM slot_changes WHERE move_id = ? AND ? >= 0', id, seq)",
      ),
    ],
  },
  {
    name: 'a reverse keeps the rows',
    cuts: [
      cut(
        mover,
        /return this\.#change\(\{ to: 'catching-up' \}\)/,
        "await this.#clear('clear')\n      return this.#change({ to: 'catching-up' })",
      ),
    ],
    with: verification,
  },
  {
    name: 'a read starts at the shard’s minBookmark',
    cuts: [
      cut(replicas, /return later\((this\.#bookmarkOf\(shard\.id\)), shard\.minBookmark \?\? null\)/, 'return $1'),
    ],
    isReplicated: true,
  },
  {
    name: 'a read starts at the later of two bookmarks',
    cuts: [
      cut(
        replicas,
        /return later\((this\.#bookmarkOf\(shard\.id\), shard\.minBookmark \?\? null)\)/,
        'return [$1].filter((one) => one !== null).toSorted()[0] ?? null',
      ),
    ],
    isReplicated: true,
  },
  {
    name: 'a causal token has the epoch',
    cuts: [cut('src/web/causal-token.ts', /epoch: written\.epoch,/, 'epoch: 0,')],
    isReplicated: true,
  },
  {
    name: 'a token’s epoch accepts no older cached map',
    cuts: [
      cut(mapHolder, /const key = copyKey\(newerThan\)/, 'const key = copyKey(null)'),
      cut(mapHolder, /if \(copy && copy\.epoch >= epochMin &&/, 'if (copy &&'),
      cut(mapHolder, /now\?\.map && map\.epoch >= atLeastEpoch \?/, 'now?.map ?'),
    ],
    isReplicated: true,
  },
  {
    name: 'a read that a replica does not answer goes to the primary',
    cuts: [
      cut(
        'src/sharding/replica-calls.ts',
        /place === 'primary' \? 'first-primary'/,
        "place === 'primary' ? 'first-unconstrained'",
      ),
    ],
    isReplicated: true,
  },
  {
    name: 'lanes',
    cuts: [cut(records, /if \(!this\.#queue\.areFreeFor\(asks\)\)/, 'if (!asks)')],
    with: step,
  },
]

const values = readOptions({ only: { type: 'string' }, seeds: { type: 'string', default: '4000' } })
/** A removed noun has no safeguards. A file that is missing from an existing folder is a mistake here. */
const isThere = ({ cuts }: Mutant) =>
  cuts.every(({ file }) => !file.startsWith('src/app/') || existsSync(path.join(root, path.dirname(file))))
const chosen = mutants.filter((mutant) => isThere(mutant) && (!values.only || mutant.name === values.only))
if (chosen.length === 0) {
  console.error(`There is no mutant "${values.only}". Mutants: ${mutants.map(({ name }) => name).join(', ')}.`)
  process.exit(1)
}

const seedsMax = wholeOption('--seeds', values.seeds, 1, 1_000_000)
const copy = new MutatedCopy('simulation')
let missed = 0
for (const mutant of chosen) {
  const { seeds, found } = mutant.with ? findPair(mutant.cuts, mutant.with.cuts) : findOne(mutant)
  if (!found) missed++
  const label = mutant.with ? `${mutant.name} (with: ${mutant.with.name})` : mutant.name
  console.log(`${label.padEnd(58)} ${found ? `found in ${seeds} seeds: ${found}` : `NOTHING in ${seeds} seeds`}`)
}
copy.remove()
console.log(`\n${chosen.length - missed} of ${chosen.length} found`)
process.exitCode = missed === 0 ? 0 : 1

/** The number of seeds until the first violation, and the violation. */
function findOne({ cuts, isReplicated }: Mutant): { seeds: number; found: string | undefined } {
  const more = isReplicated ? ['--first', '--replicas'] : ['--first']
  const { seeds, violations } = copy.without(cuts, () => simulate(1, seedsMax, ...more))
  return { seeds, found: [...violations.values()][0] }
}

/** The number of seeds until the first that is violated with both removed and sound with only the other removed. */
function findPair(cuts: Cut[], others: Cut[]): { seeds: number; found: string | undefined } {
  for (let from = 1; from <= seedsMax; from += PAIR_SEEDS) {
    const both = copy.without([...others, ...cuts], () => simulate(from, PAIR_SEEDS)).violations
    if (both.size === 0) continue
    const alone = copy.without(others, () => simulate(from, PAIR_SEEDS)).violations
    const seed = [...both.keys()].toSorted((a, b) => a - b).find((one) => !alone.has(one))
    if (seed !== undefined) return { seeds: seed, found: both.get(seed) }
  }
  return { seeds: seedsMax, found: undefined }
}

/** The number of seeds that ran, and the violation of each violated seed. */
function simulate(from: number, seeds: number, ...more: string[]): { seeds: number; violations: Map<number, string> } {
  const script = path.join(copy.folder, 'scripts/simulate.ts')
  const args = [script, '--from', String(from), '--seeds', String(seeds), ...more]
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: copy.folder, encoding: 'utf8' })
  const ran = /^(\d+) seeds in/m.exec(stdout)?.[1]
  if (ran === undefined) throw new Error(`The simulation did not run:\n${stdout}\n${stderr}`)
  const violations = [...stdout.matchAll(/^ {2}seed (\d+): (.*)$/gm)].map(
    ([, seed, what]) => [Number(seed), what!] as const,
  )
  return { seeds: Number(ran), violations: new Map(violations) }
}
