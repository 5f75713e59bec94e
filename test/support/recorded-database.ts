export interface RecordedStatement {
  sql: string
  values: unknown[]
}

/** A database that reports each statement it sends, with its values. */
export function recordedDatabase(database: D1Database, tell: (statement: RecordedStatement) => void): D1Database {
  const recorded = new WeakMap<object, { statement: D1PreparedStatement; text: RecordedStatement }>()
  const sending = new Set(['all', 'run', 'raw', 'first'])
  const wrap = (statement: D1PreparedStatement, text: RecordedStatement): D1PreparedStatement => {
    const proxy = new Proxy(statement, {
      get(target, name) {
        if (name === 'bind') return (...values: unknown[]) => wrap(target.bind(...values), { ...text, values })
        const method = (Reflect.get(target, name) as (...args: unknown[]) => unknown).bind(target)
        if (!sending.has(String(name))) return method
        return (...args: unknown[]) => {
          tell(text)
          return method(...args)
        }
      },
    })
    recorded.set(proxy, { statement, text })
    return proxy
  }
  return new Proxy(database, {
    get(target, name) {
      if (name === 'prepare') return (sql: string) => wrap(target.prepare(sql), { sql, values: [] })
      if (name === 'withSession')
        return (start: string) => recordedDatabase(target.withSession(start) as unknown as D1Database, tell)
      if (name === 'batch')
        return (statements: D1PreparedStatement[]) => {
          const known = statements.map((statement) => recorded.get(statement)!)
          for (const { text } of known) tell(text)
          return target.batch(known.map(({ statement }) => statement))
        }
      const value = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
