import { sql } from 'drizzle-orm'
import {
  blob,
  customType,
  getTableConfig,
  integer,
  primaryKey,
  real,
  type SQLiteColumnBuilderBase,
  type SQLiteTable,
  sqliteTable,
  text,
} from 'drizzle-orm/sqlite-core'
import type { Random } from '../../src/core/random.ts'
import { foldedName, quotedName, textLiteral } from '../../src/core/sql-text.ts'
import { type Keyspace, sharded } from '../../src/sharding/sharded-table.ts'

/** Names that SQL, SQLite, the fences and the mover's statements use, and such that have to be quoted. */
const hostileNames = [
  ...['t', 'j', 'r', 's', 'c0', 'c1', 'k0', 'k1', 'size', 'bytes', 'seq', 'end', 'rows', 'plain', 'tagged', 'change'],
  ...['value', 'key', 'first', 'after', 'slot', 'state', 'move_id', 'tbl', 'pk', 'keyspace', 'epoch', 'open', 'step'],
  ...['cursors', 'excluded', 'new', 'old', 'NEW', 'Old', 'rowid', 'oid', '_rowid_', 'name', 'mover_', 'banyan_plain'],
  ...[
    'select',
    'FROM',
    'where',
    'Order',
    'group',
    'index',
    'table',
    'trigger',
    'begin',
    'case',
    'END',
    'values',
    'raise',
  ],
  ...['default', 'check', 'unique', 'references', 'null', 'true', 'current_timestamp', 'rank', 'json', 'main', 'temp'],
  ...[
    'a"b',
    '"',
    '""',
    "it's",
    "'",
    "''",
    'a b',
    ' lead',
    'trail ',
    '[x]',
    ']',
    'a.b',
    't.c0',
    'a;b',
    '--x',
    '/*',
    '*/',
  ],
  ...['%_', '_', 'é', 'É', '日本', '🌳', 'İ', 'ß', 'a\u0301', '0', '1e5', '?1', ':x', '$y', '@z', '\\', '\\"', 'x,y'],
  ...[
    ' BEGIN ',
    'begin date',
    'case END;',
    "' OR 1=1 --",
    '" WHEN 0 --',
    'BEFORE INSERT ON',
    '_fence_insert',
    '(',
    ')',
  ],
  `" WHEN (SELECT state FROM slots WHERE keyspace = 'users' `,
  `x" WHEN (SELECT state FROM slots WHERE keyspace = 'claims' AND`,
]

const types = ['text', 'integer', 'real', 'blob', 'numeric', 'any'] as const
type Type = (typeof types)[number]

export interface HostileColumn {
  name: string
  type: Type
  isKey: boolean
  isNotNull: boolean
  generated: string | null
}

export interface HostileTable {
  name: string
  keyspace: Keyspace
  columns: HostileColumn[]
  /** Names, in key order. */
  key: string[]
  isStrict: boolean
  isWithoutRowid: boolean
  /** What the generator must say when it refuses the table; null: it takes it. */
  flaw: RegExp | null
}

export const chance = (random: Random, probability: number): boolean => random.fraction() < probability
export const below = (random: Random, count: number): number => Math.floor(random.fraction() * count)
export const pick = <T>(random: Random, items: readonly T[]): T => items[below(random, items.length)]!

/** So many names, no two of which SQLite takes for one. */
function drawNames(random: Random, count: number): string[] {
  const names = new Map<string, string>()
  while (names.size < count) {
    const drawn = pick(random, hostileNames)
    const name = names.has(foldedName(drawn)) ? `${drawn} ${names.size}` : drawn
    if (!names.has(foldedName(name))) names.set(foldedName(name), name)
  }
  return [...names.values()]
}

const drawCount = (random: Random): number =>
  chance(random, 0.8) ? 1 + below(random, 12) : pick(random, [31, 32, 33, 43, 63, 64, 65, 96, 97, 98, 99, 100])

/** Some tables, each of other names. */
export function drawSchema(random: Random): HostileTable[] {
  return drawNames(random, 1 + below(random, 3)).map((name) => {
    const table = drawTable(random, name)
    if (chance(random, 0.12)) pick(random, flaws)(table)
    return table
  })
}

export function drawTable(random: Random, name: string, count = drawCount(random)): HostileTable {
  const names = drawNames(random, count)
  const keyCount = chance(random, 0.5) ? 1 : 1 + below(random, Math.min(count, chance(random, 0.1) ? 32 : 5))
  const key = [...names].sort(() => random.fraction() - 0.5).slice(0, keyCount)
  const isStrict = chance(random, 0.2)
  const columns = names.map((column): HostileColumn => {
    const isKey = key.includes(column)
    if (isKey) {
      const type = column === key[0] || chance(random, 0.5) ? 'text' : 'integer'
      return { name: column, type, isKey, isNotNull: true, generated: null }
    }
    const type = pick(random, isStrict ? types.filter((one) => one !== 'numeric') : types)
    return { name: column, type, isKey, isNotNull: chance(random, 0.3), generated: null }
  })
  for (const column of columns) {
    const from = columns.filter((one) => one !== column && one.generated === null)
    if (column.isKey || from.length === 0 || !chance(random, 0.1)) continue
    const kind = chance(random, 0.5) ? 'STORED' : 'VIRTUAL'
    column.generated = `GENERATED ALWAYS AS (substr(hex(${quotedName(pick(random, from).name)}), 1, 40)) ${kind}`
    column.type = 'text'
    column.isNotNull = false
  }
  return {
    name,
    keyspace: chance(random, 0.7) ? 'users' : 'claims',
    columns,
    key,
    isStrict,
    isWithoutRowid: chance(random, 0.3),
    flaw: null,
  }
}

/** Ways to make a table one that no shard can hold or move. */
const flaws: ((table: HostileTable) => void)[] = [
  (table) => {
    table.flaw = /D1's limit is 100/
    const { length } = table.columns
    for (let more = length; more <= 100; more++)
      table.columns.push({ name: `more ${more}`, type: 'text', isKey: false, isNotNull: false, generated: null })
  },
  (table) => {
    table.flaw = /not a usable name/
    table.name += '`'
  },
  (table) => {
    table.flaw = /not a usable name/
    table.columns.push({ name: 'a\nb', type: 'text', isKey: false, isNotNull: false, generated: null })
  },
  (table) => {
    table.flaw = /the platform reserves it/
    table.name = 'Slot_Changes'
  },
  (table) => {
    table.flaw = /the platform reserves it/
    table.name = 'SQLITE_x'
  },
  (table) => {
    table.flaw = /differ only in case/
    for (const name of ['Twice', 'tWICE'])
      table.columns.push({ name, type: 'text', isKey: false, isNotNull: false, generated: null })
    if (table.columns.length > 100) table.columns.splice(0, 2)
    table.key = table.key.filter((key) => table.columns.some(({ name }) => name === key))
  },
  (table) => {
    table.flaw = /may be NULL/
    table.columns.find(({ name }) => name === table.key[0])!.isNotNull = false
  },
  (table) => {
    table.flaw = /isn't an owner-slotted text id/
    table.columns.find(({ name }) => name === table.key[0])!.type = 'integer'
  },
  (table) => {
    table.flaw = /bytes together/
    table.name = 'long'.repeat(4_500)
  },
  (table) => {
    table.flaw = /key has 33 columns, and the limit is 32/
    table.columns = Array.from({ length: 33 }, (_, index) => ({
      name: `k${index}`,
      type: 'text' as const,
      isKey: true,
      isNotNull: true,
      generated: null,
    }))
    table.key = table.columns.map(({ name }) => name)
  },
]

const anything = customType<{ data: unknown }>({ dataType: () => 'any' })
const numeric = customType<{ data: unknown }>({ dataType: () => 'numeric' })
const builders: Record<Type, (name: string) => unknown> = { text, integer, real, blob, numeric, any: anything }

/** The Drizzle definition that a builder would write. */
export function drizzleTable({ name, keyspace, columns, key }: HostileTable): SQLiteTable {
  const built = columns.map((column, place) => {
    const builder = builders[column.type](column.name) as ReturnType<typeof text>
    const notNull = column.isNotNull ? builder.notNull() : builder
    return [`p${place}`, column.generated === null ? notNull : notNull.generatedAlwaysAs(sql.raw('x'))] as const
  })
  return sharded(
    keyspace,
    sqliteTable(name, Object.fromEntries(built) as Record<string, SQLiteColumnBuilderBase>, (table) => {
      const own = Object.values(table) as { name: string }[]
      const inOrder = key.map((column) => own.find((one) => one.name === column)!)
      return [primaryKey({ columns: inOrder as never })]
    }),
  )
}

/** The statement that makes it in a shard: as drizzle-kit would, or as a builder changed it by hand. */
export function createSql({ name, columns, key, isStrict, isWithoutRowid }: HostileTable): string {
  const lines = columns.map((column) =>
    [
      quotedName(column.name),
      column.type === 'any' && !isStrict ? '' : column.type,
      column.isNotNull ? 'NOT NULL' : '',
      column.generated ?? '',
    ].join(' '),
  )
  const options = [isWithoutRowid ? 'WITHOUT ROWID' : null, isStrict ? 'STRICT' : null].filter((one) => one !== null)
  return `CREATE TABLE ${quotedName(name)} (${lines.join(', ')}, PRIMARY KEY (${key.map(quotedName).join(', ')})) ${options.join(', ')}`
}

export const definedColumns = (table: SQLiteTable): number => getTableConfig(table).columns.length

// ── values ──────────────────────────────────────────────────────────────────────────────────────

const integers = ['0', '1', '-7', '9007199254740991', '9007199254740993', '9223372036854775807']
const valuesOf: Record<'text' | 'integer' | 'real' | 'blob', string[]> = {
  text: [
    "''",
    "'plain'",
    "'007'",
    "'i7'",
    "'emoji 🌳👩‍👩‍👧‍👦'",
    "'a' || char(0) || 'b'",
    "CAST(x'ff00fe' AS TEXT)",
    `'"\\'' ]}['`,
    "']'",
    "'['",
    "printf('%.2000c', 'x')",
  ],
  integer: [...integers, '(-9223372036854775807 - 1)'],
  real: ['0.5', '1.0 / 3.0', '-0.0', '9e999', '1.7976931348623157e308', '3.0'],
  blob: ["x''", "x'00ff10'", "CAST('[]' AS BLOB)"],
}

/** A value as SQL, of a kind that the column takes. */
export function drawValue(random: Random, { type, isNotNull }: HostileColumn, isStrict: boolean): string {
  if (!isNotNull && chance(random, 0.2)) return 'NULL'
  const isOpen = type === 'any' || type === 'numeric' || (!isStrict && chance(random, 0.3))
  return pick(random, valuesOf[isOpen ? pick(random, ['text', 'integer', 'real', 'blob'] as const) : type])
}

const keyEnds = [
  '',
  ' ',
  'A',
  'a',
  'ä',
  '🌳',
  '\uffff',
  '10',
  "'",
  '"\\',
  '\n\t',
  '\u0001',
  '%_',
  '{"a":[1]}',
  ']',
  '[',
]

/** A key in this slot, as SQL, in key order. */
export function drawKey(random: Random, { key, columns }: HostileTable, slot: string): string[] {
  return key.map((name, place) => {
    if (place === 0) return textLiteral(slot + pick(random, keyEnds))
    const { type } = columns.find((column) => column.name === name)!
    return type === 'integer' ? pick(random, integers) : textLiteral(pick(random, keyEnds))
  })
}
