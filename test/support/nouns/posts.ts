import type { Owner, ReadBack, TestNoun } from '../nouns.ts'

interface PostAnswer {
  post: { id: string; text: string }
}

const refuses = { text: ['', ' \n\t ', '\u00a0', 'a\ud800b', '\udfff', 'a'.repeat(2_001), '👩'.repeat(2_001)] }
const body = () => ({ text: 'A post.' })
const apiPath = ({ created }: Owner) => `/api/v1/posts/${created.post}`
const pagePath = ({ created }: Owner) => `/posts/${created.post}`

const readBackFrom =
  (pathOf: (owner: Owner) => string): ReadBack =>
  async (owner, { text }) => [text, (await owner.ask('GET', pathOf(owner))).json<PostAnswer>().post.text]

const readBackCreated: ReadBack = async ({ ask }, { text }, answer) => {
  const { id } = answer.json<PostAnswer>().post
  return [text, (await ask('GET', `/api/v1/posts/${id}`)).json<PostAnswer>().post.text]
}

const readBackNewest: ReadBack = async ({ ask, handle }, { text }) => {
  const { items } = (await ask('GET', `/api/v1/users/${handle}/posts?limit=100`)).json<{ items: { text: string }[] }>()
  return [text, items.find((post) => post.text === text)?.text]
}

/** Posts in the tests that have a row for each route. */
export const noun: TestNoun = {
  async create({ ask }) {
    const { post } = (await ask('POST', '/api/v1/posts', { text: 'Hands off.' })).json<PostAnswer>()
    return { post: post.id }
  },
  adds: [{ route: 'GET /:handle{@[A-Za-z0-9_]+}', d1: 1, kv: 0, why: 'the posts' }],
  routes: {
    'GET /api/v1/users/:handle/posts': {
      calls: [{ who: 'visitor', d1: 3, kv: 0, why: 'the claim, the profile, the posts' }],
      path: ({ handle }) => `/api/v1/users/${handle}/posts`,
      isPaged: true,
    },
    'POST /api/v1/posts': {
      calls: [{ who: 'bearer', d1: 1, kv: 1, why: 'the session’s copy, one batch that also reads the author' }],
      isSignedIn: true,
      body,
      refuses,
      readBack: readBackCreated,
      takesKey: true,
    },
    'GET /api/v1/posts/:id': {
      calls: [
        { who: 'visitor', d1: 1, kv: 0, why: 'post and author lie in one slot, which the id names' },
        { who: 'bearer', d1: 1, kv: 0, why: 'who reads makes no difference, so nobody asks' },
      ],
      path: apiPath,
    },
    'PATCH /api/v1/posts/:id': {
      calls: [{ who: 'bearer', d1: 1, kv: 1, why: 'the session’s copy, one batch that also reads the post' }],
      isSignedIn: true,
      path: apiPath,
      body,
      refuses,
      readBack: readBackFrom(apiPath),
    },
    'DELETE /api/v1/posts/:id': {
      calls: [{ who: 'bearer', d1: 1, kv: 1, why: 'the session’s copy, one batch' }],
      isSignedIn: true,
      path: apiPath,
      isFinal: true,
    },
    'GET /home': {
      calls: [{ who: 'browser', d1: 2, kv: 1, why: 'the session’s copy; oneself and one’s posts, at once' }],
    },
    'POST /posts': {
      calls: [{ who: 'browser', d1: 1, kv: 1, why: 'as the API’s' }],
      isSignedIn: true,
      body: (number) => ({ text: 'A post.', idempotencyKey: `post ${number}` }),
      readBack: readBackNewest,
    },
    'GET /posts/:id': {
      calls: [
        { who: 'visitor', d1: 1, kv: 0, why: 'as the API’s' },
        { who: 'browser', d1: 2, kv: 1, why: 'the session’s copy and the viewer, for the page’s header' },
      ],
      path: pagePath,
    },
    'GET /posts/:id/edit': {
      calls: [{ who: 'browser', d1: 2, kv: 1, why: 'the session’s copy, the viewer, the post' }],
      path: (owner) => `${pagePath(owner)}/edit`,
    },
    'POST /posts/:id/edit': {
      calls: [{ who: 'browser', d1: 1, kv: 1, why: 'as the API’s' }],
      isSignedIn: true,
      path: (owner) => `${pagePath(owner)}/edit`,
      body,
      readBack: readBackFrom(apiPath),
    },
    'POST /posts/:id/delete': {
      calls: [{ who: 'browser', d1: 1, kv: 1, why: 'as the API’s' }],
      isSignedIn: true,
      path: (owner) => `${pagePath(owner)}/delete`,
      isFinal: true,
    },
  },
}
