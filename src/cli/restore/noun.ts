/**
 * A noun's contribution to a restore of a shard (`src/app/<noun>/restore.operator.ts`): rows that must not come back,
 * and rows to check for consistency. All tables belong to the keyspace `users` and have the key `id`.
 */
export interface RestoreContribution {
  claims?: ClaimHolders
  /** Tables whose rows grant access. Time travel may bring back a row that was deleted to revoke access. */
  revoked?: RevokedTable[]
  /** At most one noun has credentials. */
  credentials?: Credentials
}

/** A claim of a row, named by its key because its value is personal. */
export interface HeldClaim {
  kind: string
  key: string
}

/** Rows that hold claims. */
export interface ClaimHolders<Row extends { id: string } = { id: string }> {
  /** The rows' table. A claim is an orphan if its owner has no row there, or the row has another claim of its kind. */
  table: string
  /** SQL for the rows with their claims' values and `id`: SELECT, FROM and JOINs. */
  select: string
  /** All kinds of claims that the rows own. Claims of other kinds are not compared. */
  kinds: readonly string[]
  /** The claims that a row of `select` must hold. */
  claimsOf(row: Row): HeldClaim[]
  names: {
    /** What the list calls the missing row of an orphan. */
    lacks: string
    /** What the list calls the row's id. */
    id: string
    /** What --json calls the number of orphans. */
    lacking: string
    /** What texts call the rows. */
    rows: string
  }
  texts: {
    /** `claims`: the number of orphans, as text. */
    orphans(claims: string): string
    /** `claims`: the number of missing claims, as text. */
    lacking(claims: string): string
    whole: string
  }
}

export interface RevokedTable {
  table: string
  names: {
    /** What texts call a row. */
    row: string
    /** What --json calls the number of deleted rows. */
    deleted: string
  }
}

/**
 * Rows with the users' secrets. They are noted before a restore and compared after it. The version counts the changes
 * of the secret. It is raised above the noted one, so that no version names two secrets.
 */
export interface Credentials {
  table: string
  columns: {
    version: string
    /** A change of this text is listed too. Only its digest is noted. */
    watched: string
  }
  names: {
    /** What file names, the note and --json call the rows. Must not collide with other names there. */
    rows: string
    /** What the list calls the id and the version. */
    id: string
    version: string
    /** The names of a row's changes in the list: an older version, and a watched text that differs. */
    olderVersion: string
    otherText: string
  }
  texts: {
    noted(count: number): string
    /** What the operator must do. `listed`: null if the noted rows are unknown. `file`: the list's file. */
    compared(listed: Listed, file: string): string[]
  }
}

/** Number of listed rows per change; null if the noted rows are unknown. */
export type Listed = Record<string, number> | null

/** The contributions of all nouns. */
export interface Restored {
  holders: ClaimHolders[]
  revoked: RevokedTable[]
  credentials: Credentials | null
}

/** The engine's own table. */
const sessions: RevokedTable = { table: 'sessions', names: { row: 'session', deleted: 'sessionsDeleted' } }

export function restoredBy(nouns: RestoreContribution[]): Restored {
  const [credentials = null, ...others] = nouns.flatMap((noun) => noun.credentials ?? [])
  if (others.length > 0) throw new Error('two nouns have credentials, but a restore supports only one')
  return {
    holders: nouns.flatMap(({ claims }) => claims ?? []),
    revoked: [sessions, ...nouns.flatMap(({ revoked }) => revoked ?? [])],
    credentials,
  }
}
