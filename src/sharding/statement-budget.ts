import { limits } from '../core/limits.ts'

/** Thrown before a call that would exceed the budget is sent, so nothing of the call was applied. */
export class BudgetSpent extends Error {
  override readonly name = 'BudgetSpent'
}

/** How many statements a piece of work may still send. */
export interface Allowance {
  readonly left: number
}

/**
 * Counts the statements that one invocation sends to its shards. The platform allows an invocation 1,000 queries, and
 * each statement of a batch counts as one. Nothing else counts them. Give each invocation its own budget, use
 * `meter(shards)` instead of the bindings, and stop when `left` is less than the next piece of work needs.
 */
export class StatementBudget {
  readonly #max: number
  #sent = 0

  constructor(max: number = limits.invocationStatementsMax) {
    this.#max = max
  }

  get sent(): number {
    return this.#sent
  }

  get left(): number {
    return this.#max - this.#sent
  }

  /** What a piece of work may send if `kept` statements are reserved for the work after it. */
  allowance(kept: number): Allowance {
    const left = () => Math.max(0, this.left - kept)
    return {
      get left() {
        return left()
      },
    }
  }

  /** Returns the databases by binding name, wrapped so that each statement is counted when it is sent. */
  meter(shards: ReadonlyMap<string, D1Database>): Map<string, D1Database> {
    return new Map([...shards].map(([binding, database]) => [binding, new MeteredDatabase(this, database)]))
  }

  /** Like `meter`, for a request that uses few of a thousand databases. Wraps each database on first use. */
  meterOnUse(shards: ReadonlyMap<string, D1Database>): Pick<ReadonlyMap<string, D1Database>, 'get' | 'has'> {
    const metered = new Map<string, D1Database>()
    return {
      has: (binding) => shards.has(binding),
      get: (binding) => {
        const known = metered.get(binding) ?? shards.get(binding)
        if (!known || known instanceof MeteredDatabase) return known
        const database = new MeteredDatabase(this, known)
        metered.set(binding, database)
        return database
      },
    }
  }

  /** Throws `BudgetSpent` if fewer are left. */
  spend(statements: number): void {
    if (statements > this.left)
      throw new BudgetSpent(`This invocation has sent ${this.#sent} of its ${this.#max} statements.`)
    this.#sent += statements
  }
}

class MeteredDatabase implements D1Database {
  readonly #budget: StatementBudget
  readonly #database: D1Database

  constructor(budget: StatementBudget, database: D1Database) {
    this.#budget = budget
    this.#database = database
  }

  prepare(sql: string): D1PreparedStatement {
    return new MeteredStatement(this.#budget, this.#database.prepare(sql))
  }

  async batch<T = unknown>(statements: D1PreparedStatement[]): Promise<D1Result<T>[]> {
    return sendBatch<T>(this.#budget, this.#database, statements)
  }

  withSession(constraintOrBookmark?: string): D1DatabaseSession {
    const session = this.#database.withSession(constraintOrBookmark)
    return {
      prepare: (sql) => new MeteredStatement(this.#budget, session.prepare(sql)),
      batch: async <T>(statements: D1PreparedStatement[]) => sendBatch<T>(this.#budget, session, statements),
      getBookmark: () => session.getBookmark(),
    }
  }

  async exec(sql: string): Promise<D1ExecResult> {
    this.#budget.spend(1)
    return this.#database.exec(sql)
  }

  dump(): Promise<ArrayBuffer> {
    return this.#database.dump()
  }
}

async function sendBatch<T>(
  budget: StatementBudget,
  connection: Pick<D1Database, 'batch'>,
  statements: D1PreparedStatement[],
): Promise<D1Result<T>[]> {
  budget.spend(statements.length)
  return connection.batch<T>(statements.map((one) => (one instanceof MeteredStatement ? one.statement : one)))
}

class MeteredStatement implements D1PreparedStatement {
  readonly statement: D1PreparedStatement
  readonly #budget: StatementBudget

  constructor(budget: StatementBudget, statement: D1PreparedStatement) {
    this.#budget = budget
    this.statement = statement
  }

  bind(...values: unknown[]): D1PreparedStatement {
    return new MeteredStatement(this.#budget, this.statement.bind(...values))
  }

  async all<T = Record<string, unknown>>(): Promise<D1Result<T>> {
    this.#budget.spend(1)
    return this.statement.all<T>()
  }

  async run<T = Record<string, unknown>>(): Promise<D1Result<T>> {
    this.#budget.spend(1)
    return this.statement.run<T>()
  }

  async first<T = unknown>(column: string): Promise<T | null>
  async first<T = Record<string, unknown>>(): Promise<T | null>
  async first<T>(column?: string): Promise<T | null> {
    this.#budget.spend(1)
    return column === undefined ? this.statement.first<T>() : this.statement.first<T>(column)
  }

  async raw<T = unknown[]>(options: { columnNames: true }): Promise<[string[], ...T[]]>
  async raw<T = unknown[]>(options?: { columnNames?: false }): Promise<T[]>
  async raw<T>(options?: { columnNames?: boolean }): Promise<T[] | [string[], ...T[]]> {
    this.#budget.spend(1)
    return options?.columnNames ? this.statement.raw<T>({ columnNames: true }) : this.statement.raw<T>()
  }
}
