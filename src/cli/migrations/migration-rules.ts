import { foldedName } from '../../core/sql-text.ts'
import {
  cutAt,
  isSign,
  isWord,
  nameAt,
  type SqlStatement,
  type SqlToken,
  type SqlTrigger,
  sqlStatements,
  textOf,
  triggerOf,
  writeOf,
} from '../../core/sql-tokens.ts'
import { UserError } from '../shell/errors.ts'
import type { Migration } from './shard-migrations.ts'

/** The condition that keeps a trigger silent while a mover writes, for its WHEN clause. */
export const SILENT_WHILE_MOVING = '(SELECT open FROM mover) = 0'

interface Refusal {
  what: string
  fix: string
}

/**
 * Throws UserError for migrations that are not allowed on sharded tables: those that rebuild or drop a table, write its
 * rows, or leave a trigger that fires for a mover. `all` are the folder's migrations. At each migration, the fences
 * created so far show which tables are sharded.
 */
export function refuseUnsafe(pending: Migration[], all: Migration[]): void {
  refuseStatements(pending, all)
  if (pending.length > 0) refuseTriggers(all)
}

/** Checks single statements only, because fences may still be missing. */
export function refuseStatements(pending: Migration[], all: Migration[]): void {
  for (const migration of pending) {
    const known = new KnownObjects(all.slice(0, all.findIndex(({ name }) => name === migration.name) + 1))
    for (const { sql, statement } of statementsOf(migration)) {
      const refusal = refusedChange(statement) ?? refusedWrite(statement, known) ?? refusedForm(statement, sql)
      if (refusal) refuse(migration, textOf(sql, statement), refusal)
    }
  }
}

const SHOWN_CHARACTERS = 200

interface ReadStatement {
  /** The text that contains it. */
  sql: string
  statement: SqlStatement
}

const read = new WeakMap<Migration, ReadStatement[]>()

/** Parses each migration once, although the rules look at it again for every later migration. */
function statementsOf(migration: Migration): ReadStatement[] {
  let statements = read.get(migration)
  if (!statements) {
    statements = migration.statements.flatMap((sql) => sqlStatements(sql).map((statement) => ({ sql, statement })))
    read.set(migration, statements)
  }
  return statements
}

function refuse({ name }: Migration, sql: string, { what, fix }: Refusal): never {
  const [line = ''] = sql.split('\n')
  throw new UserError(`${name} ${what}:\n  ${line.slice(0, SHOWN_CHARACTERS)}`, fix)
}

// ── which tables are sharded, and what triggers write ───────────────────────────────────────────

const isFence = ({ name, table }: SqlTrigger): boolean =>
  ['insert', 'update', 'delete'].some((event) => foldedName(name) === `${foldedName(table)}_fence_${event}`)

interface KnownTrigger extends SqlTrigger {
  migration: Migration
  sql: string
}

class KnownObjects {
  /** The triggers that exist after the migrations, by name. */
  readonly live = new Map<string, KnownTrigger>()
  /** Every fence that a migration created, by name, including dropped ones. A table stays sharded. */
  readonly fences = new Map<string, KnownTrigger>()
  readonly #sharded = new Set<string>()
  /** Tables and views whose triggers write to a sharded table, directly or through other triggers. */
  readonly #leadingTo = new Map<string, string>()

  constructor(migrations: Migration[]) {
    for (const migration of migrations)
      for (const { sql, statement } of statementsOf(migration)) {
        const trigger = triggerOf(statement)
        if (trigger) this.#learn({ ...trigger, migration, sql })
        else if (isWord(statement[0], 'DROP') && isWord(statement[1], 'TRIGGER'))
          this.live.delete(foldedName(nameAt(statement, isWord(statement[2], 'IF') ? 4 : 2).name ?? ''))
      }
    this.#followTriggers()
  }

  #learn(trigger: KnownTrigger): void {
    this.live.set(foldedName(trigger.name), trigger)
    if (!isFence(trigger)) return
    this.fences.set(foldedName(trigger.name), trigger)
    this.#sharded.add(foldedName(trigger.table))
  }

  #followTriggers(): void {
    for (let isComplete = false; !isComplete; ) {
      isComplete = true
      for (const { table, body } of this.live.values())
        for (const statement of body) {
          const reached = this.shardedTable(writeOf(statement)?.table)
          if (reached === null || this.shardedTable(table) !== null) continue
          this.#leadingTo.set(foldedName(table), reached)
          isComplete = false
        }
    }
  }

  isSharded(table: string): boolean {
    return this.#sharded.has(foldedName(table))
  }

  /** The sharded table whose rows change on a write to this table or view; null if there is none. */
  shardedTable(name: string | undefined): string | null {
    if (name === undefined) return null
    return this.#sharded.has(foldedName(name)) ? foldedName(name) : (this.#leadingTo.get(foldedName(name)) ?? null)
  }
}

// ── the rules ───────────────────────────────────────────────────────────────────────────────────

const ONLY_ADD =
  'Migrations may only add to sharded tables. Add a new column or table, and stop reading the old one (docs/building/tables.md).'

/** True for drizzle-kit's temporary table of a rebuild. */
const isRebuilt = (table: string | null | undefined): boolean => /^__new_/i.test(table ?? '')

function refusedChange(statement: SqlToken[]): Refusal | null {
  const rebuild = {
    what: 'rebuilds or drops a table, which would drop its fence and lose rows during a move',
    fix: ONLY_ADD,
  }
  const [first, second] = statement
  if (isRebuilt(writeOf(statement)?.table)) return rebuild
  if (isWord(first, 'DROP') && isWord(second, 'TABLE')) return rebuild
  if (isWord(first, 'PRAGMA') && foldedName(nameAt(statement, 1).name ?? '') === 'foreign_keys') return rebuild
  if (
    isWord(first, 'CREATE') &&
    statement.some((token, at) => isWord(token, 'TABLE') && isRebuilt(createdAt(statement, at)))
  )
    return rebuild
  if (!isWord(first, 'ALTER')) return null
  const { name, after } = nameAt(statement, 2)
  if (isWord(statement[after], 'RENAME'))
    return isWord(statement[after + 1], 'TO')
      ? rebuild
      : { what: `renames a column of ${name}, but the previous version still uses the old name`, fix: ONLY_ADD }
  if (isWord(statement[after], 'DROP'))
    return {
      what: 'drops a column, but the previous version still reads it',
      fix: 'Stop reading the column, and keep it in the table, because an earlier version may run at the same time (docs/building/tables.md).',
    }
  return null
}

const createdAt = (statement: SqlToken[], at: number): string | null =>
  nameAt(statement, isWord(statement[at + 1], 'IF') ? at + 4 : at + 1).name

function refusedWrite(statement: SqlToken[], known: KnownObjects): Refusal | null {
  const write = writeOf(statement)
  const table = known.shardedTable(write?.table)
  if (!write || table === null) return null
  const way = known.isSharded(write.table) ? '' : ` through a trigger of ${write.table}`
  return {
    what: `writes rows of the sharded table ${table}${way} (${write.verb})`,
    fix: 'Write the rows in the application, slot by slot through shards.of(…) (docs/building/tables.md, "Changing existing rows"). A migration would fail at a shard with a slot that has moved, is arriving or is in its cutover, because such a slot refuses the write.',
  }
}

function refusedForm(statement: SqlStatement, sql: string): Refusal | null {
  const trigger = triggerOf(statement)
  const why = trigger && cutBecause(statement, sql)
  return why
    ? {
        what: `has a trigger ${trigger.name} that D1's API may split, because ${why}`,
        fix: 'Write the trigger in one line, with BEGIN and END in upper case and each CASE … END in parentheses (docs/building/tables.md, "Triggers of your own").',
      }
    : null
}

function refuseTriggers(migrations: Migration[]): void {
  const known = new KnownObjects(migrations)
  for (const [name, { migration, sql, table }] of known.fences)
    if (!known.live.has(name))
      refuse(migration, sql, {
        what: `creates the fence ${name} of the sharded table ${table}, and a later statement drops it`,
        fix: 'Create the fence again: npm run migrations:generate',
      })
  for (const trigger of known.live.values())
    if (known.isSharded(trigger.table) && !isFence(trigger) && !isSilent(trigger.when))
      refuse(trigger.migration, trigger.sql, {
        what: `has a trigger ${trigger.name} on the sharded table ${trigger.table} that would fire when a move writes its rows`,
        fix: `Give the trigger WHEN ${SILENT_WHILE_MOVING}. If it has its own condition, put that in parentheses, and join the two with AND (docs/building/tables.md, "Triggers of your own").`,
      })
}

/** The forms reported as https://github.com/cloudflare/workers-sdk issues 4727, 10998, 14991 and 15690. */
function cutBecause(statement: SqlStatement, sql: string): string | null {
  if (/[\r\n]/.test(textOf(sql, statement))) return 'it has more than one line'
  const bare = statement.find((token) => isWord(token, 'BEGIN', 'END') && token.value !== token.value.toUpperCase())
  if (bare) return `"${bare.value}" is not in upper case`
  let depth = 0
  for (const token of statement) {
    if (isSign(token, '(')) depth++
    if (isSign(token, ')')) depth--
    if (depth === 0 && isWord(token, 'CASE')) return 'a CASE … END is not in parentheses'
  }
  return null
}

/**
 * True if a condition is false while a mover's window is open: it is `SILENT_WHILE_MOVING`, alone or joined with AND.
 */
function isSilent(condition: SqlToken[]): boolean {
  if (isTheCondition(condition)) return true
  const inner = unwrapped(condition)
  if (inner) return isSilent(inner)
  const conjuncts = conjunctsOf(condition)
  return conjuncts.length > 1 && conjuncts.some(isSilent)
}

function isTheCondition(tokens: SqlToken[]): boolean {
  const wanted = ['(', 'select', 'open', 'from', 'mover', ')', '=', '0']
  return (
    tokens.length === wanted.length &&
    tokens.every(({ kind, value }, at) => kind !== 'text' && foldedName(value) === wanted[at])
  )
}

/** The tokens inside parentheses around the whole; null if there are none. */
function unwrapped(tokens: SqlToken[]): SqlToken[] | null {
  if (!isSign(tokens[0], '(')) return null
  let depth = 0
  for (const [at, token] of tokens.entries()) {
    if (isSign(token, '(')) depth++
    if (isSign(token, ')') && --depth === 0) return at === tokens.length - 1 ? tokens.slice(1, -1) : null
  }
  return null
}

/** The operands of AND outside parentheses. One piece if OR, BETWEEN or CASE may give an AND another meaning. */
function conjunctsOf(tokens: SqlToken[]): SqlToken[][] {
  let depth = 0
  const outside = new Set<SqlToken>()
  for (const token of tokens) {
    if (isSign(token, '(')) depth++
    if (isSign(token, ')')) depth--
    if (depth === 0) outside.add(token)
  }
  if ([...outside].some((token) => isWord(token, 'OR', 'BETWEEN', 'CASE'))) return [tokens]
  return cutAt(tokens, (token) => outside.has(token) && isWord(token, 'AND'))
}
