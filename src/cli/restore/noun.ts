/**
 * What a noun says of its rows, so that a restore of their shard ends what must not come back and lists what no longer fits
 * (`src/app/<noun>/restore.operator.ts`). All tables are of the keyspace `users` and have the key `id`.
 */
export interface RestoreContribution {
  claims?: ClaimHolders
  /** Tables whose rows let somebody in: time travel may bring back one that was deleted for that reason. */
  revoked?: RevokedTable[]
  /** At most one noun has them. */
  credentials?: Credentials
}

/** A claim of a row, named by its key: its value is personal. */
export interface HeldClaim {
  kind: string
  key: string
}

/** Rows that hold claims. */
export interface ClaimHolders<Row extends { id: string } = { id: string }> {
  /** Where the rows are. A claim whose owner has no row there is an orphan. */
  table: string
  /** SQL of rows with what they hold, each with its `id`: SELECT and FROM, with JOINs if need be. */
  select: string
  /** All kinds of claims that the rows own. Claims of a kind that no noun names are not compared. */
  kinds: readonly string[]
  /** What a row must hold. `row` is one of `select`. */
  claimsOf(row: Row): HeldClaim[]
  names: {
    /** Of an orphan's missing row, in the list. */
    lacks: string
    /** Of the row's id, in the list. */
    id: string
    /** Of the number of orphans, in --json. */
    lacking: string
    /** Of the rows, in text. */
    rows: string
  }
  texts: {
    /** `claims`: how many are orphans. */
    orphans(claims: string): string
    /** `claims`: how many the rows lack. */
    lacking(claims: string): string
    whole: string
  }
}

export interface RevokedTable {
  table: string
  names: {
    /** Of a row, in text. */
    row: string
    /** Of the number of deleted rows, in --json. */
    deleted: string
  }
}

/**
 * Rows by which users prove who they are. They are noted before a restore and compared after it. The version counts the
 * changes of the secret: it is raised above the noted one, so that a version never names a second secret.
 */
export interface Credentials {
  table: string
  columns: {
    version: string
    /** A change of this text is listed, too. Only its digest is noted. */
    watched: string
  }
  names: {
    /** Of all of it, in the names of files, in the note and in --json: none that these have already. */
    rows: string
    /** In the list. */
    id: string
    version: string
    /** What a row's changes are called: an older version, another watched text. */
    olderVersion: string
    otherText: string
  }
  texts: {
    noted(count: number): string
    /** For the operator. `listed`: null if the noted rows are not known. `file`: where they are listed. */
    compared(listed: Listed, file: string): string[]
  }
}

/** How many rows are listed for each change; null if the noted rows are not known. */
export type Listed = Record<string, number> | null

/** What all nouns contribute. */
export interface Restored {
  holders: ClaimHolders[]
  revoked: RevokedTable[]
  credentials: Credentials | null
}

/** The engine's own. */
const sessions: RevokedTable = { table: 'sessions', names: { row: 'session', deleted: 'sessionsDeleted' } }

export function restoredBy(nouns: RestoreContribution[]): Restored {
  const [credentials = null, ...others] = nouns.flatMap((noun) => noun.credentials ?? [])
  if (others.length > 0) throw new Error('two nouns have credentials, and a restore knows of one')
  return {
    holders: nouns.flatMap(({ claims }) => claims ?? []),
    revoked: [sessions, ...nouns.flatMap(({ revoked }) => revoked ?? [])],
    credentials,
  }
}
