import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { migratedDatabase } from '../../../scripts/shard-schema.ts'
import { type Answer, answerOf } from '../../../src/sharding/answers.ts'
import { SimulatedShard, type Transport } from '../../simulation/database.ts'
import { connectionLost, ManualClock, mapWire, routedShards, ScriptedSource } from '../../support/sharding-doubles.ts'

const atOnce: Transport = async (_call, execute) => execute()

/** A table with a trigger that writes, and a view with a trigger that refuses. */
function tables() {
  const sqlite = new DatabaseSync(':memory:')
  sqlite.exec(`
    CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT UNIQUE, age INTEGER NOT NULL CHECK (age >= 0));
    CREATE TABLE log (entry);
    CREATE TRIGGER names_log AFTER INSERT ON names BEGIN INSERT INTO log VALUES (NEW.name), ('again'); END;
    CREATE VIEW gate AS SELECT 1 AS open;
    CREATE TRIGGER gate_insert INSTEAD OF INSERT ON gate BEGIN SELECT RAISE(ABORT, 'GATE_CLOSED') WHERE NEW.open = 0; END`)
  return sqlite
}

function opened(transport: Transport = atOnce) {
  const sqlite = tables()
  const shard = new SimulatedShard(sqlite)
  const database = shard.connection(transport)
  const sql = (text: string, ...values: unknown[]) => database.prepare(text).bind(...values)
  const count = (table: string) =>
    (sqlite.prepare(`SELECT count(*) AS count FROM ${table}`).get() as { count: number }).count
  return { sqlite, shard, database, sql, count }
}

const INSERT = 'INSERT INTO names (name, age) VALUES (?, ?)'

async function rejectionOf(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.fail('it did not fail'),
    (error: Error) => error,
  )
}

describe('answers', () => {
  test('rows are plain objects in the order of the columns, with D1’s meta', async () => {
    const { sql } = opened()
    await sql(INSERT, 'ada', 36).run()
    const result = await sql('SELECT id, name, age FROM names').all()
    expect(result).toStrictEqual({
      success: true,
      meta: {
        changes: 0,
        rows_written: 0,
        rows_read: 0,
        duration: 0,
        last_row_id: 0,
        size_after: 0,
        changed_db: false,
      },
      results: [{ id: 1, name: 'ada', age: 36 }],
    })
    expect(Object.keys(result.results[0]!)).toEqual(['id', 'name', 'age'])
  })

  test('meta.changes counts rows written by triggers, per statement; changes() does not', async () => {
    const { database, sql } = opened()
    const results = await database.batch([
      sql('INSERT INTO gate VALUES (1)'),
      sql(INSERT, 'ada', 36),
      sql('SELECT changes() AS changes'),
      sql('UPDATE names SET age = 37 WHERE id = 99'),
      sql('WITH new (name) AS (VALUES (?), (?)) INSERT INTO names (name, age) SELECT name, 1 FROM new', 'b', 'c'),
    ])
    expect(results.map(({ meta }) => meta.changes)).toEqual([0, 3, 0, 0, 6])
    expect(results[1]!.meta).toMatchObject({ rows_written: 3, changed_db: true })
    expect(results[2]!.results).toEqual([{ changes: 1 }])
  })

  test('RETURNING returns rows', async () => {
    const { sql } = opened()
    const { results, meta } = await sql(`${INSERT} RETURNING id, age`, 'ada', 36).all()
    expect([results, meta.changes]).toEqual([[{ id: 1, age: 36 }], 3])
  })

  test('first() returns a row, a column, or null; a missing column is an error', async () => {
    const { sql } = opened()
    expect(await sql('SELECT 1 AS one, 2 AS two').first()).toEqual({ one: 1, two: 2 })
    expect(await sql('SELECT 1 AS one, 2 AS two').first('two')).toBe(2)
    expect(await sql('SELECT 1 AS one WHERE 0').first('none')).toBeNull()
    await expect(sql('SELECT 1 AS one').first('none')).rejects.toThrow('D1_COLUMN_NOTFOUND')
  })

  test('raw() keeps the column order and duplicate names; objects have the last duplicate', async () => {
    const { sql } = opened()
    const twice = 'SELECT 1 AS b, 2 AS a, 3 AS b, 4 AS "1"'
    expect(await sql(twice).raw()).toEqual([[1, 2, 3, 4]])
    expect(await sql(twice).raw({ columnNames: true })).toEqual([
      ['b', 'a', 'b', '1'],
      [1, 2, 3, 4],
    ])
    expect((await sql(twice).all()).results).toEqual([{ b: 3, a: 2, 1: 4 }])
    expect(await sql(`${twice} WHERE 0`).raw({ columnNames: true })).toEqual([['b', 'a', 'b', '1']])
    expect(await sql('DELETE FROM log').raw({ columnNames: true })).toEqual([[]])
  })

  test('SELECT * has a new column’s name after a schema change, and not after the change is undone', async () => {
    const { shard, database, sql } = opened()
    const names = async () => (await sql('SELECT * FROM log').raw({ columnNames: true }))[0]
    shard.mark()
    expect(await names()).toEqual(['entry'])
    await sql('ALTER TABLE log ADD COLUMN later').run()
    expect(await names()).toEqual(['entry', 'later'])
    shard.reset()
    expect(await names()).toEqual(['entry'])
    const undone = [sql('ALTER TABLE log ADD COLUMN later'), sql('SELECT * FROM log'), sql('SELEC 1')]
    await rejectionOf(database.batch(undone))
    expect(await names()).toEqual(['entry'])
  })
})

describe('values', () => {
  test('numbers are bound as reals, booleans as 0 and 1, values that JSON lacks as null, and blobs return as bytes', async () => {
    const { sql } = opened()
    const types = 'SELECT typeof(?1) AS type, ?1 AS value'
    const given = [1, 0.5, true, false, null, 'text', Number.NaN, Infinity, new Uint8Array([1, 255]), [1, 255]]
    const bound = await Promise.all(given.map(async (value) => (await sql(types, value).raw())[0]))
    expect(bound).toEqual([
      ['real', 1],
      ['real', 0.5],
      ['real', 1],
      ['real', 0],
      ['null', null],
      ['text', 'text'],
      ['null', null],
      ['null', null],
      ['blob', [1, 255]],
      ['blob', [1, 255]],
    ])
    expect(await sql('SELECT 9e999 AS infinite').first('infinite')).toBeNull()
  })

  test('numbered places take a value once, wherever they stand; texts, names and comments have no places', async () => {
    const { sql } = opened()
    const text = `SELECT ?2 AS two, ?1 AS one, ?2 AS again, '?9''?' AS "what?" -- ?
      /* ? */`
    expect(await sql(text, 'a', 'b').raw()).toEqual([['b', 'a', 'b', "?9'?"]])
    expect(await sql('SELECT ?2 AS two, ? AS next', 'a', 'b', 'c').raw()).toEqual([['b', 'c']])
  })

  test('integers over 2^53 are rounded, on the first call and later, in a read and in a write’s returned rows', async () => {
    const { sql, count } = opened()
    const big = "SELECT 9223372036854775807 AS big, 1 AS small, 0.5 AS half, x'01' AS bytes"
    for (let time = 0; time < 2; time++)
      expect(await sql(big).first()).toEqual({ big: 2 ** 63, small: 1, half: 0.5, bytes: [1] })
    expect(await sql('INSERT INTO log VALUES (1) RETURNING 9007199254740993 AS big').first('big')).toBe(2 ** 53)
    expect(count('log')).toBe(1)
  })

  test('2,000,000 bytes can be bound, but not one more', async () => {
    const { sql } = opened()
    expect(await sql('SELECT length(?) AS length', 'x'.repeat(2_000_000)).first('length')).toBe(2_000_000)
    for (const value of ['ä'.repeat(1_000_001), new Uint8Array(2_000_001)]) {
      const error = await rejectionOf(sql('SELECT length(?) AS length', value).run())
      expect(error.message).toBe('D1_ERROR: string or blob too big: SQLITE_TOOBIG')
    }
  })

  test('a value changed after bind() is sent unchanged', async () => {
    const { sql } = opened()
    const bytes = new Uint8Array([1])
    const statement = sql('SELECT ? AS bytes', bytes)
    bytes[0] = 2
    expect(await statement.first('bytes')).toEqual([1])
  })

  test.each([undefined, 1n, {}, new Date(0), ['text'], () => 1])('%s can’t be bound', (value) => {
    const { sql } = opened()
    const type = typeof value
    expect(() => sql('SELECT ?', value)).toThrow(`D1_TYPE_ERROR: Type '${type}' not supported for value '${value}'`)
  })
})

const constraint = (sqliteCode: string): Answer => ({ kind: 'constraint', sqliteCode })
const statement = (sqliteCode: string): Answer => ({ kind: 'statement', sqliteCode })

const list = (count: number, between = ', ') => Array(count).fill('1').join(between)
const names = (count: number) => Array.from({ length: count }, (_, index) => `c${index}`).join(', ')

/** The same questions that test/workerd/sharding/answers.test.ts asks the local D1. */
const refused: [string, string, unknown[], Answer][] = [
  ['RAISE of a trigger', 'INSERT INTO gate VALUES (0)', [], { kind: 'refused', code: 'GATE_CLOSED' }],
  [
    'PRIMARY KEY',
    'INSERT INTO names VALUES (7, ?1, 1), (7, ?2, 1)',
    ['b', 'c'],
    constraint('SQLITE_CONSTRAINT_PRIMARYKEY'),
  ],
  ['UNIQUE', "INSERT INTO names VALUES (7, 'b', 1), (8, 'b', 1)", [], constraint('SQLITE_CONSTRAINT_UNIQUE')],
  ['NOT NULL', "INSERT INTO names (name) VALUES ('b')", [], constraint('SQLITE_CONSTRAINT_NOTNULL')],
  ['CHECK', INSERT, ['b', -1], constraint('SQLITE_CONSTRAINT_CHECK')],
  ['datatype mismatch', "INSERT INTO names (id, age) VALUES ('text', 1)", [], statement('SQLITE_MISMATCH')],
  ['syntax error', 'SELEC 1', [], statement('SQLITE_ERROR')],
  ['no such column', 'SELECT none FROM names', [], statement('SQLITE_ERROR')],
  ['no such table', 'SELECT * FROM later', [], { kind: 'not-migrated' }],
  ['integer overflow at run time', 'SELECT abs(-9223372036854775808)', [], statement('SQLITE_ERROR')],
  ['more than 100 parameters', `SELECT ${Array(101).fill('?').join()}`, Array(101).fill(1), statement('SQLITE_ERROR')],
  ['a text of more than 100,000 bytes', `SELECT 1 /*${'x'.repeat(100_000)}*/`, [], statement('SQLITE_TOOBIG')],
  ['33 arguments of a function', `SELECT coalesce(${list(33)})`, [], statement('SQLITE_ERROR')],
  ['an expression of a depth of 101', `SELECT ${list(101, ' + ')}`, [], statement('SQLITE_ERROR')],
  ['a table of 101 columns', `CREATE TABLE wide (${names(101)})`, [], statement('SQLITE_ERROR')],
  ['a result of 101 columns', `SELECT ${list(101)}`, [], statement('SQLITE_ERROR')],
  ['a LIKE pattern of 51 bytes', `SELECT 'a' LIKE '${'%'.repeat(51)}'`, [], statement('SQLITE_ERROR')],
  ['six SELECTs in one', Array(6).fill('SELECT 1').join(' UNION ALL '), [], statement('SQLITE_ERROR')],
  ['a value that a statement makes too long', 'SELECT hex(zeroblob(1000001))', [], statement('SQLITE_TOOBIG')],
  ['not authorized', "ATTACH 'x' AS y", [], statement('SQLITE_AUTH')],
  ['a pragma that sets', 'PRAGMA user_version = 3', [], statement('SQLITE_AUTH')],
  ['too few values', 'SELECT ?, ?', [1], statement('SQLITE_MISUSE')],
  ['too many values', 'SELECT ?', [1, 2], statement('SQLITE_MISUSE')],
  ['no statement', ' ', [], statement('SQLITE_MISUSE')],
  ['two statements', 'SELECT 1; SELECT 2', [], statement('SQLITE_ERROR')],
  ['a transaction', 'BEGIN', [], statement('SQLITE_MISUSE')],
]

test.each([
  `SELECT coalesce(${list(32)})`,
  `SELECT ${list(100, ' + ')} AS sum`,
  `CREATE TABLE wide (${names(100)})`,
  `SELECT ${names(100).replaceAll('c', '1 AS c')}`,
  `SELECT 'a' LIKE '${'%'.repeat(50)}'`,
  Array(5).fill('SELECT 1').join(' UNION ALL '),
  'SELECT hex(zeroblob(999999))',
])('a statement at D1’s limits is accepted: %s', async (text) => {
  expect((await opened().sql(text).run()).success).toBe(true)
})

describe('refusals', () => {
  test.each(refused)('%s, alone and in a batch, which is rolled back', async (_name, text, values, answer) => {
    const { database, sql, count } = opened()
    expect(answerOf(await rejectionOf(sql(text, ...values).run()))).toEqual(answer)
    const batch = database.batch([sql('SELECT 1'), sql(INSERT, 'ada', 36), sql(text, ...values), sql('SELECT 1')])
    expect(answerOf(await rejectionOf(batch))).toEqual(answer)
    expect([count('names'), count('log')]).toEqual([0, 0])
  })

  test('the texts equal D1’s exactly', async () => {
    const { sql } = opened()
    await sql(INSERT, 'ada', 36).run()
    expect((await rejectionOf(sql(INSERT, 'ada', 36).run())).message).toBe(
      'D1_ERROR: UNIQUE constraint failed: names.name: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)',
    )
    expect((await rejectionOf(sql('INSERT INTO gate VALUES (0)').run())).message).toBe(
      'D1_ERROR: GATE_CLOSED: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_TRIGGER)',
    )
  })
})

describe.each([false, true])('atomicity, marked: %s', (isMarked) => {
  function started() {
    const all = opened()
    if (isMarked) all.shard.mark()
    return all
  }

  test('a failing third statement undoes the first two, but nothing before the batch', async () => {
    const { sqlite, database, sql, count } = started()
    await sql(INSERT, 'ada', 36).run()
    await rejectionOf(database.batch([sql(INSERT, 'b', 1), sql(INSERT, 'c', 1), sql(INSERT, 'ada', 1)]))
    expect([count('names'), count('log')]).toEqual([1, 2])
    await database.batch([sql(INSERT, 'b', 1), sql(INSERT, 'c', 1)])
    expect(count('names')).toBe(3)
    // Only the mark's own transaction is still open.
    if (isMarked) sqlite.exec('ROLLBACK')
    sqlite.exec('BEGIN')
    expect(count('names')).toBe(isMarked ? 0 : 3)
  })

  test('a failing statement undoes all its rows, and those that its triggers wrote', async () => {
    const { sql, count } = started()
    await rejectionOf(sql("INSERT INTO names (name, age) VALUES ('a', 1), ('b', 1), ('c', -1)").run())
    expect([count('names'), count('log')]).toEqual([0, 0])
  })

  test('a failing write after reads is undone; a failing read undoes the write before it', async () => {
    const { database, sql, count } = started()
    await rejectionOf(database.batch([sql('SELECT 1'), sql("INSERT INTO names VALUES (1, 'a', 1), (1, 'b', 1)")]))
    await rejectionOf(database.batch([sql(INSERT, 'a', 1), sql("SELECT json('{')")]))
    expect([count('names'), count('log')]).toEqual([0, 0])
  })
})

describe('mark and reset', () => {
  test('reset() restores the rows, sequences and bookmarks of the mark, repeatedly', async () => {
    const sqlite = migratedDatabase()
    const shard = new SimulatedShard(sqlite)
    const session = shard.connection(atOnce).withSession()
    const change = () =>
      session
        .prepare("INSERT INTO slot_changes (move_id, tbl, pk) VALUES ('m', 't', '[]') RETURNING seq")
        .first<number>('seq')
    expect(await change()).toBe(1)
    shard.mark()
    for (let round = 0; round < 3; round++) {
      expect([await change(), await change(), Number(shard.bookmark)]).toEqual([2, 3, 3])
      shard.reset()
      expect(sqlite.prepare('SELECT seq FROM slot_changes').all()).toMatchObject([{ seq: 1 }])
    }
  })

  test('after a second mark(), reset() returns to that one', async () => {
    const { shard, sql, count } = opened()
    shard.mark()
    await sql(INSERT, 'ada', 36).run()
    shard.mark()
    await sql(INSERT, 'b', 1).run()
    shard.reset()
    expect(count('names')).toBe(1)
  })

  test('reset() without a mark throws', () => {
    expect(() => opened().shard.reset()).toThrow('needs an earlier mark()')
  })
})

describe('a connection', () => {
  test('every round trip goes through its transport, with the statements that it sends', async () => {
    const sent: unknown[] = []
    const { database, sql } = opened(async (call, execute) => {
      sent.push(call.statements)
      return execute()
    })
    await sql('SELECT ? AS a', true).all()
    await sql('SELECT 1').raw()
    await database.batch([sql('SELECT 1'), sql('SELECT 2')])
    await database.withSession().prepare('SELECT 3').first()
    const one = (text: string) => ({ sql: text, values: [] })
    expect(sent).toEqual([
      [{ sql: 'SELECT ? AS a', values: [1] }],
      [one('SELECT 1')],
      [one('SELECT 1'), one('SELECT 2')],
      [one('SELECT 3')],
    ])
  })

  test('an answer lost after the effect, a call that never arrives, and a call that arrives twice, late', async () => {
    const late: (() => unknown)[] = []
    const transports: Record<string, Transport> = {
      lost: async (_call, execute) => {
        execute()
        throw connectionLost()
      },
      never: async () => {
        throw connectionLost()
      },
      late: async (_call, execute) => {
        late.push(execute, execute)
        throw connectionLost()
      },
    }
    const { shard, count } = opened()
    const log = (name: string) => shard.connection(transports[name]!).prepare('INSERT INTO log VALUES (1)').run()
    for (const [name, written] of [
      ['lost', 1],
      ['never', 1],
      ['late', 1],
    ] as const) {
      expect(answerOf(await rejectionOf(log(name)))).toEqual({ kind: 'transient' })
      expect([name, count('log')]).toEqual([name, written])
    }
    for (const arrive of late) arrive()
    expect(count('log')).toBe(3)
  })

  test('connections of one shard see one database, and refuse statements of another connection', async () => {
    const { shard, database, sql } = opened()
    const other = shard.connection(atOnce)
    await sql(INSERT, 'ada', 36).run()
    expect(await other.prepare('SELECT name FROM names').first('name')).toBe('ada')
    const error = await rejectionOf(other.batch([sql('SELECT 1')]))
    expect(answerOf(error)).toEqual(statement('SQLITE_MISUSE'))
    expect(await database.withSession().batch([sql('SELECT 1')])).toHaveLength(1)
  })

  test('a session’s bookmark is null before its first answer, and rises with every change', async () => {
    const session = opened().database.withSession()
    const bookmarks = [session.getBookmark()]
    for (const text of ["INSERT INTO log VALUES ('a')", 'SELECT 1', 'DELETE FROM log WHERE 0', 'DELETE FROM log']) {
      await session.prepare(text).run()
      bookmarks.push(session.getBookmark())
    }
    const [none, first, ...others] = bookmarks
    expect([none, others[0], others[1]]).toEqual([null, first, first])
    expect(others[2]! > first!).toBe(true)
  })

  test('exec(), dump() and an empty batch are refused', async () => {
    const { database } = opened()
    await expect(database.exec('SELECT 1')).rejects.toThrow('no exec()')
    await expect(database.dump()).rejects.toThrow('no dump()')
    await expect(database.batch([])).rejects.toThrow('No SQL statements detected')
  })
})

describe('the real router over two simulated shards', () => {
  const INBOX = 'INSERT INTO inbox (id, done_at) VALUES (?, ?)'
  const ROW = '00aa-row'

  /** Gives slot 00aa a state at each of the two shards. Null: no row. */
  function routed(states: [string | null, string | null], { before = () => undefined }: { before?: () => void } = {}) {
    const sqlites = states.map((state) => {
      const sqlite = migratedDatabase()
      const insert = sqlite.prepare(
        "INSERT INTO slots (keyspace, slot, state, epoch, move_id) VALUES ('users', '00aa', ?, 1, 'move-1')",
      )
      if (state) insert.run(state)
      return sqlite
    })
    const [source, target] = sqlites.map((sqlite) => new SimulatedShard(sqlite).connection(atOnce))
    const clock = new ManualClock()
    let owner = 0
    const directory = new ScriptedSource(() => mapWire(1 + owner, clock.now(), owner))
    const all = routedShards({
      databases: { SHARD_000: source!, SHARD_001: target! },
      clock,
      source: directory,
      before,
    })
    const setState = (shard: number, state: string) =>
      sqlites[shard]!.prepare("UPDATE slots SET state = ? WHERE slot = '00aa'").run(state)
    const rows = (shard: number, table = 'inbox') => sqlites[shard]!.prepare(`SELECT * FROM ${table}`).all()
    const moved = () => {
      owner = 1
    }
    return { ...all, setState, rows, moved }
  }

  test('a guarded insert is written at the owner, and can be read there with a lease and exactly', async () => {
    const { shards, rows } = routed(['active', null])
    const written = await shards.of(ROW).prepare(INBOX).bind(ROW, 5).run()
    expect([written.meta.changes, rows(0).length, rows(1).length]).toEqual([1, 1, 0])
    for (const read of ['lease', 'exact'] as const) {
      const row = shards.of(ROW, { read }).prepare('SELECT * FROM inbox WHERE id = ?').bind(ROW)
      expect(await row.first()).toEqual({ id: ROW, done_at: 5 })
      expect(await row.raw({ columnNames: true })).toEqual([
        ['id', 'done_at'],
        [ROW, 5],
      ])
    }
  })

  test('while its slot moves, the change is captured, and meta.changes still counts only the statement’s own rows', async () => {
    const { shards, rows } = routed(['moving', null])
    const written = await shards.of(ROW).prepare(INBOX).bind(ROW, 5).run()
    expect([written.meta.changes, rows(0).length]).toEqual([1, 1])
    expect(rows(0, 'slot_changes')).toMatchObject([{ move_id: 'move-1', tbl: 'inbox', pk: `["${ROW}"]` }])
  })

  test('a taken key fails the whole batch', async () => {
    const { shards, rows } = routed(['active', null])
    const database = shards.of(ROW)
    const insert = (id: string) => database.prepare(INBOX).bind(id, 5)
    await insert(ROW).run()
    await expect(database.batch([insert('00aa-other'), insert(ROW)])).rejects.toMatchObject({
      code: 'DATABASE_CONSTRAINT',
      sqliteCode: 'SQLITE_CONSTRAINT_PRIMARYKEY',
    })
    expect(rows(0).length).toBe(1)
  })

  test('a write to a fenced slot is retried, and succeeds when the fence is removed', async () => {
    let tries = 0
    const { shards, setState, rows } = routed(['fenced', null], {
      before: () => {
        if (++tries === 3) setState(0, 'active')
      },
    })
    await shards.of(ROW).prepare(INBOX).bind(ROW, 5).run()
    expect([tries, rows(0).length]).toEqual([3, 1])
  })

  test.each(['write', 'exact read'])('a moved slot is found at its new owner: %s', async (kind) => {
    const { shards, setState, rows, moved, calls } = routed(['active', 'importing'])
    await shards.of(ROW).prepare(INBOX).bind(ROW, 5).run()
    setState(0, 'moved')
    setState(1, 'active')
    moved()
    if (kind === 'write') {
      await shards.of(ROW).prepare(INBOX).bind('00aa-next', 6).run()
      expect([rows(0).length, rows(1).length]).toEqual([1, 1])
    } else {
      const row = shards.of(ROW, { read: 'exact' }).prepare('SELECT * FROM inbox WHERE id = ?').bind(ROW)
      expect(await row.first()).toBeNull()
    }
    expect(calls.map(({ shard }) => shard)).toEqual(['shard-000', 'shard-000', 'shard-001'])
  })
})
