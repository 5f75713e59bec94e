import type { Question } from './comparison.ts'

/** One statement with its values. Without `values`, nothing is bound. */
export interface Statement {
  sql: string
  values?: unknown[]
  /** For `first(column)`. */
  column?: string
}

/** Each way to send one statement. */
const methods = [
  'all',
  'first',
  'first(column)',
  'run',
  'raw',
  'raw with names',
  'batch',
  'batch beside a write',
  'batch beside a read',
] as const
export type Method = (typeof methods)[number]

let asked = 0
/** The local runtime caches a text's last statement, and refuses a text of two statements when it is sent again. */
const unseen = (sql: string) => sql.replaceAll('/*#*/', () => `/*${String(++asked).padStart(6, '0')}*/`)

const bound = (database: D1Database, { sql, values }: Statement) => {
  const statement = database.prepare(unseen(sql))
  return values === undefined ? statement : statement.bind(...values)
}

const COUNT = 'SELECT count(*) AS n, sum(n) FROM items'
const RAISE_N = "UPDATE items SET n = n + 1 WHERE id = '00aa-b'"

function send(database: D1Database, statement: D1PreparedStatement, method: Method, column: string): unknown {
  switch (method) {
    case 'all':
      return statement.all()
    case 'first':
      return statement.first()
    case 'first(column)':
      return statement.first(column)
    case 'run':
      return statement.run()
    case 'raw':
      return statement.raw()
    case 'raw with names':
      return statement.raw({ columnNames: true })
    case 'batch':
      return database.batch([statement])
    case 'batch beside a write':
      return database.batch([statement, database.prepare(RAISE_N)])
    case 'batch beside a read':
      return database.batch([database.prepare(COUNT), statement, database.prepare(COUNT)])
  }
}

/** `method` of one statement. */
export function question(name: string, statement: Statement, method: Method, isWrite: boolean): Question {
  return {
    name: `${method} of ${name}: ${shown(statement)}`,
    texts: [statement.sql],
    isBatch: method.startsWith('batch'),
    changesRows: isWrite || method === 'batch beside a write',
    ask(database, stage) {
      stage('bind')
      const prepared = bound(database, statement)
      stage('call')
      return send(database, prepared, method, statement.column ?? 'id')
    },
  }
}

/** A batch of these statements. */
export const batchQuestion = (name: string, statements: Statement[]): Question => ({
  name: `a batch of ${name}: ${statements.map(shown).join(' | ')}`,
  texts: statements.map(({ sql }) => sql),
  isBatch: true,
  changesRows: true,
  ask(database, stage) {
    stage('bind')
    const prepared = statements.map((statement) => bound(database, statement))
    stage('call')
    return database.batch(prepared)
  },
})

/** Any other question. */
export const freeQuestion = (name: string, ask: (database: D1Database) => unknown, changesRows = false): Question => ({
  name,
  texts: [],
  isBatch: false,
  changesRows,
  ask(database, stage) {
    stage('call')
    return ask(database)
  },
})

const shown = ({ sql, values }: Statement): string => {
  const text = JSON.stringify(sql.length > 160 ? `${sql.slice(0, 160)}…` : sql)
  return values ? `${text} with ${values.length} values` : text
}

/** The product of statements and methods. */
export const product = (
  statements: Record<string, Statement>,
  isWrite: boolean,
  asked: readonly Method[] = methods,
): Question[] =>
  Object.entries(statements).flatMap(([name, statement]) =>
    asked.map((method) => question(name, statement, method, isWrite)),
  )
