import type { TestNoun } from '../nouns.ts'

const path = ({ handle }: { handle: string }) => `/api/v1/search/users?q=${handle}`

/** Search in the tests that have one row per route. */
export const noun: TestNoun = {
  routes: {
    'GET /api/v1/search/users': {
      calls: [{ who: 'visitor', d1: 2, kv: 0, why: 'SCATTER: one query per shard (two here)' }],
      path,
    },
    'GET /search': {
      calls: [
        { who: 'visitor', d1: 0, kv: 0, why: 'the form, without a search' },
        { who: 'browser', d1: 1, kv: 1, why: 'the session’s copy and the viewer, for the page’s header' },
      ],
    },
  },
}
