import { eachAtMost } from '../core/bounded.ts'
import { type Clock, inTime } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { answerOf, DatabaseError, isTaken } from './answers.ts'

/** One database's answer to one batch, and how the router classifies its text. */
export interface ProbeResult {
  binding: string
  /** The name of the batch. */
  case: string
  expected: string
  met: string
  /** The error's text as the binding threw it. Empty if there was none. */
  text: string
  ok: boolean
}

export interface ProbePage {
  items: ProbeResult[]
  /** Bindings that were skipped because their shards are being restored. */
  leftOut: string[]
  /** The last binding of this page, if there are more. */
  next: string | null
}

export interface ProbeOptions {
  databases: ReadonlyMap<string, D1Database>
  /** The last binding of the previous page, or null. */
  after: string | null
  isLeftOut(binding: string): boolean
  clock: Clock
}

interface ProbeCase {
  name: string
  /** The last statement is refused. */
  statements: string[]
  expected: string
}

type Send = (statements: string[]) => Promise<D1Result<{ rows: number }>[]>

/** No id has this slot, because slots are four hex digits. Its rows exist only inside a batch of the probe. */
const SLOT = 'zzzz'
const ROW = `${SLOT}probe`

const NO_ANSWER = 'no answer'
const TAKEN = 'taken key'

const slot = (keyspace: 'users' | 'claims', state: string) =>
  `INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('${keyspace}', '${SLOT}', '${state}', 0)`
const becomes = (state: string) => `UPDATE slots SET state = '${state}' WHERE keyspace = 'users' AND slot = '${SLOT}'`
const GUARD = `INSERT INTO slot_guard (keyspace, slot) VALUES ('users', '${SLOT}')`
const INSERT = `INSERT INTO claim_attempts (id, outcome, created_at) VALUES ('${ROW}', 'taken', 0)`
const UPDATE = `UPDATE claim_attempts SET created_at = 1 WHERE id = '${ROW}'`
const DELETE = `DELETE FROM claim_attempts WHERE id = '${ROW}'`
const CLAIM = `INSERT INTO claims (key, kind, owner_id, attempt_id, state, expires_at) VALUES ('${ROW}', 'email', '', '', 'reserved', 0)`

/** Every refusal that the router acts on, from the guard and from the row triggers. */
const cases: ProbeCase[] = [
  { name: 'guard, no slot', statements: [GUARD], expected: 'SLOT_NOT_OWNED' },
  { name: 'guard, moved slot', statements: [slot('users', 'moved'), GUARD], expected: 'SLOT_NOT_OWNED' },
  { name: 'guard, fenced slot', statements: [slot('users', 'fenced'), GUARD], expected: 'SLOT_FENCED' },
  { name: 'guard, importing slot', statements: [slot('users', 'importing'), GUARD], expected: 'SLOT_FENCED' },
  { name: 'insert, no slot', statements: [INSERT], expected: 'SLOT_NOT_OWNED' },
  { name: 'insert, importing slot', statements: [slot('users', 'importing'), INSERT], expected: 'SLOT_FENCED' },
  {
    name: 'update, fenced slot',
    statements: [slot('users', 'active'), INSERT, becomes('fenced'), UPDATE],
    expected: 'SLOT_FENCED',
  },
  {
    name: 'delete, moved slot',
    statements: [slot('users', 'active'), INSERT, becomes('moved'), DELETE],
    expected: 'SLOT_NOT_OWNED',
  },
  {
    name: 'row over its bound',
    statements: [slot('users', 'active'), INSERT.replace("'taken'", `hex(zeroblob(${limits.rowBytesMax / 2}))`)],
    expected: 'ROW_TOO_LARGE',
  },
  {
    name: 'changed primary key',
    statements: [slot('users', 'active'), INSERT, `UPDATE claim_attempts SET id = '${SLOT}other' WHERE id = '${ROW}'`],
    expected: 'PRIMARY_KEY_CHANGED',
  },
  {
    name: 'mover’s step',
    statements: ['INSERT INTO mover_step (expected) VALUES (-1)'],
    expected: 'STEP_MISMATCH',
  },
  {
    name: 'mover’s expectation',
    statements: [
      `INSERT INTO slot_expectation (keyspace, ranges, state, move_id, slots) VALUES ('users', '[["${SLOT}","${SLOT}"]]', NULL, NULL, 1)`,
    ],
    expected: 'SLOT_STATE_UNEXPECTED',
  },
  {
    name: 'session that has ended',
    statements: [`INSERT INTO session_guard (id, now) VALUES ('${ROW}', 0)`],
    expected: 'SESSION_ENDED',
  },
  { name: 'taken key', statements: [CLAIM, CLAIM], expected: TAKEN },
  { name: 'constraint', statements: [], expected: 'constraint' },
  { name: 'missing table', statements: ['SELECT 1 FROM probe_missing_table'], expected: 'not-migrated' },
  { name: 'missing column', statements: ['SELECT probe_missing_column FROM slots'], expected: 'statement' },
]

/** The first statement of every batch. It shows whether an aborted batch leaves something behind. */
const MARK = slot('claims', 'active')
/**
 * The last statement of every batch. The table's CHECK refuses it, without a trigger. Therefore nothing is applied,
 * even if a trigger is missing and the statement before was not refused.
 */
const ABORT = "INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', 'probe', 'probe', 0)"

const LEFT = `SELECT (SELECT count(*) FROM slots WHERE keyspace IN ('users', 'claims') AND slot = '${SLOT}')
  + (SELECT count(*) FROM claim_attempts WHERE id >= '${SLOT}') + (SELECT count(*) FROM claims WHERE key >= '${SLOT}') AS rows`

/**
 * Sends each database a batch per refusal, and classifies the answers like the router. This finds a text that the
 * router would misread before a user meets it, because the local runtime may word its errors differently. Every batch
 * is aborted, so nothing is written. Never throws: a database that does not answer is a result.
 */
export async function probeShards({ databases, after, isLeftOut, clock }: ProbeOptions): Promise<ProbePage> {
  const rest = [...databases].filter(([binding]) => after === null || binding > after)
  const page = rest.slice(0, limits.probeShardsMax)
  const probed = page.filter(([binding]) => !isLeftOut(binding))
  const results = new Map<string, ProbeResult[]>()
  await eachAtMost(limits.shardsAtOnceMax, probed, async ([binding, database]) => {
    results.set(binding, await probeShard(database, binding, clock))
  })
  const bindings = page.map(([binding]) => binding)
  return {
    items: probed.flatMap(([binding]) => results.get(binding) ?? []),
    leftOut: bindings.filter(isLeftOut),
    next: rest.length > page.length ? (bindings.at(-1) ?? null) : null,
  }
}

/** Stops at the first batch without an answer, because the others would wait as long. */
async function probeShard(database: D1Database, binding: string, clock: Clock): Promise<ProbeResult[]> {
  const until = clock.now() + limits.probeShardMs
  const send: Send = (statements) => {
    const batch = database.batch<{ rows: number }>(statements.map((sql) => database.prepare(sql)))
    return inTime(clock, Math.max(0, until - clock.now()), batch, () => new NoAnswer())
  }
  const results: ProbeResult[] = []
  for (const one of cases) {
    const { met, text } = await refusalOf(clock, () => send([MARK, ...one.statements, ABORT]))
    results.push({ binding, case: one.name, expected: one.expected, met, text, ok: met === one.expected })
    if (met === NO_ANSWER) return results
  }
  return [...results, await leftBehind(binding, send)]
}

/** The last result: whether aborted batches left nothing behind. */
async function leftBehind(binding: string, send: Send): Promise<ProbeResult> {
  const about = { binding, case: 'aborted batches', expected: '0 rows left' }
  try {
    const [result] = await send([LEFT])
    const met = `${result?.results[0]?.rows} rows left`
    return { ...about, met, text: '', ok: met === about.expected }
  } catch (error) {
    return { ...about, met: metBy(error), text: messageOf(error), ok: false }
  }
}

/** A transient fault looks like an unknown text, but does not persist, so it is retried. */
async function refusalOf(clock: Clock, send: () => Promise<unknown>): Promise<{ met: string; text: string }> {
  for (let sent = 1; ; sent++) {
    try {
      await send()
      return { met: 'applied', text: '' }
    } catch (error) {
      const met = metBy(error)
      if (met !== 'transient' || sent === limits.probeTriesMax) return { met, text: messageOf(error) }
      await clock.sleep(limits.probePauseMs * sent)
    }
  }
}

/** How the router classifies an error. */
function metBy(error: unknown): string {
  if (error instanceof NoAnswer) return NO_ANSWER
  const answer = answerOf(error)
  if (answer.kind === 'refused') return answer.code
  if (answer.kind !== 'constraint') return answer.kind
  const refused = new DatabaseError('DATABASE_CONSTRAINT', answer.sqliteCode, error)
  return isTaken(refused, 'claims') ? TAKEN : answer.kind
}

class NoAnswer extends Error {
  constructor() {
    super(`no answer within ${limits.probeShardMs / 1_000} s`)
  }
}
