import type { TestNoun } from '../nouns.ts'

/** Jobs in the tests that have one row per route. */
export const noun: TestNoun = {
  routes: {
    'GET /api/v1/jobs/:id': {
      calls: [{ who: 'bearer', d1: 0, kv: 1, why: 'the session’s copy; the id is of another slot' }],
      isSignedIn: true,
      isMissing: true,
      path: () => '/api/v1/jobs/000001hf7yat000000000000000000',
    },
    'DELETE /api/v1/jobs/:id': {
      calls: [{ who: 'bearer', d1: 1, kv: 1, why: 'like GET, and the batch' }],
      isSignedIn: true,
      isMissing: true,
      path: () => '/api/v1/jobs/000001hf7yat000000000000000000',
    },
  },
}
