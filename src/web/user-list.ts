import type { ScatterQuery } from '../sharding/scatter-query.ts'

/** A user in the operators' list, as its shard answers it. */
interface ListedUser {
  id: string
  handle: string
  displayName: string
  createdAt: number // ms
}

/** How operators list users. Both queries are scatters over the shards. */
export interface UserList {
  /** Users whose handle starts with `prefix`, in any case. Its sort key is the handle and the id. */
  byHandle(prefix: string): ScatterQuery<ListedUser>
  /** The newest first. Its sort key is the time of the sign-up (ms) and the id. */
  recent: ScatterQuery<ListedUser>
}
