import type { UserList } from '../../web/user-list.ts'

const source = {
  columns: 'id, handle, display_name AS displayName, created_at AS createdAt',
  from: 'profiles',
  id: 'id',
}

export const userList: UserList = {
  byHandle: (prefix) => ({
    operation: 'profiles.by-handle',
    keyspace: 'users',
    direction: 'ascending',
    sources: [{ ...source, keys: ['handle', 'id'], prefix: prefix.toLowerCase() }],
  }),
  recent: {
    operation: 'profiles.recent',
    keyspace: 'users',
    direction: 'descending',
    sources: [{ ...source, keys: ['created_at', 'id'] }],
  },
}
