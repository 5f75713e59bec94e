import type { Owner, TestNoun } from '../nouns.ts'

const followPath = (handle: string | undefined) => `/api/v1/users/${handle}/follow`
const pagePath = ({ handle }: Owner) => `/@${handle}`

const people = 'and one query per shard that has people of the page'

/** Follows in the tests that have one row per route. The user follows one other user. */
export const noun: TestNoun = {
  async create({ ask, handle }) {
    const followee = `f_${handle}`
    const account = { email: `${followee}@example.com`, handle: followee, password: 'seven quiet herons' }
    await ask('POST', '/api/v1/accounts', account)
    await ask('PUT', `/api/v1/users/${followee}/follow`)
    return { followee }
  },
  routes: {
    'PUT /api/v1/users/:handle/follow': {
      calls: [{ who: 'bearer', d1: 3, kv: 1, why: 'the session’s copy, the claim, the profile, one batch' }],
      isSignedIn: true,
      path: ({ created }) => followPath(created.followee),
    },
    'DELETE /api/v1/users/:handle/follow': {
      calls: [{ who: 'bearer', d1: 3, kv: 1, why: 'like PUT' }],
      isSignedIn: true,
      path: ({ handle }) => followPath(handle),
    },
    'GET /api/v1/users/:handle/followers': {
      calls: [
        { who: 'visitor', d1: 3, kv: 0, why: 'scatter: the claim, the profile, the list; nobody is on this page' },
      ],
      path: ({ handle }) => `/api/v1/users/${handle}/followers`,
      isPaged: true,
    },
    'GET /api/v1/users/:handle/following': {
      calls: [{ who: 'visitor', d1: 4, kv: 0, why: `scatter: the claim, the profile, the list, ${people}` }],
      path: ({ handle }) => `/api/v1/users/${handle}/following`,
      isPaged: true,
    },
    'GET /:handle{@[A-Za-z0-9_]+}/followers': {
      calls: [{ who: 'visitor', d1: 3, kv: 0, why: 'scatter, like the API' }],
      path: (owner) => `${pagePath(owner)}/followers`,
    },
    'GET /:handle{@[A-Za-z0-9_]+}/following': {
      calls: [
        { who: 'visitor', d1: 4, kv: 0, why: 'scatter, like the API' },
        { who: 'browser', d1: 5, kv: 1, why: 'the session’s copy and the viewer, for the page’s header' },
      ],
      path: (owner) => `${pagePath(owner)}/following`,
    },
    'POST /:handle{@[A-Za-z0-9_]+}/follow': {
      calls: [{ who: 'browser', d1: 3, kv: 1, why: 'like the API' }],
      isSignedIn: true,
      path: ({ created }) => `/@${created.followee}/follow`,
    },
    'POST /:handle{@[A-Za-z0-9_]+}/unfollow': {
      calls: [{ who: 'browser', d1: 3, kv: 1, why: 'like the API' }],
      isSignedIn: true,
      path: (owner) => `${pagePath(owner)}/unfollow`,
    },
  },
}
