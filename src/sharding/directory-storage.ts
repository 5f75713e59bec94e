/** The storage of the directory's Durable Object: its SQLite database. */
export interface DirectoryStorage {
  rows<T>(sql: string, ...values: (string | number | null)[]): T[]
  transaction<T>(body: () => T): T
}
