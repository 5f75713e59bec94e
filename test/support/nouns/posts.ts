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

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" }

/** The text in the composer of the user's page. */
const readBackDraft: ReadBack = async ({ ask }, { text }) => {
  const [, shown = ''] = /<textarea id="text"[^>]*>\n([^<]*)</.exec((await ask('GET', '/home')).text) ?? []
  return [text, shown.replaceAll(/&([#a-z0-9]+);/g, (_, name: string) => entities[name]!)]
}

/** Posts in the tests that have one row per route. */
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
        { who: 'visitor', d1: 1, kv: 0, why: 'post and author are in one slot, which the id names' },
        { who: 'bearer', d1: 1, kv: 0, why: 'the answer does not depend on the reader, so no session is read' },
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
      calls: [
        {
          who: 'browser',
          d1: 2,
          kv: 1,
          why: 'the session’s copy; own profile with the draft, and posts, concurrently',
        },
      ],
    },
    'POST /home/draft': {
      calls: [{ who: 'browser', d1: 1, kv: 1, why: 'the session’s copy, one batch with the session’s proof' }],
      isSignedIn: true,
      body: (number) => ({ text: `A draft, number ${number}.` }),
      readBack: readBackDraft,
    },
    'POST /posts': {
      calls: [{ who: 'browser', d1: 1, kv: 1, why: 'like the API' }],
      isSignedIn: true,
      body: (number) => ({ text: 'A post.', idempotencyKey: `post ${number}` }),
      readBack: readBackNewest,
    },
    'GET /posts/:id': {
      calls: [
        { who: 'visitor', d1: 1, kv: 0, why: 'like the API' },
        { who: 'browser', d1: 2, kv: 1, why: 'the session’s copy and the viewer, for the page’s header' },
      ],
      path: pagePath,
    },
    'GET /posts/:id/edit': {
      calls: [{ who: 'browser', d1: 2, kv: 1, why: 'the session’s copy, the viewer, the post' }],
      path: (owner) => `${pagePath(owner)}/edit`,
    },
    'POST /posts/:id/edit': {
      calls: [{ who: 'browser', d1: 1, kv: 1, why: 'like the API' }],
      isSignedIn: true,
      path: (owner) => `${pagePath(owner)}/edit`,
      body,
      readBack: readBackFrom(apiPath),
    },
    'POST /posts/:id/delete': {
      calls: [{ who: 'browser', d1: 1, kv: 1, why: 'like the API' }],
      isSignedIn: true,
      path: (owner) => `${pagePath(owner)}/delete`,
      isFinal: true,
    },
  },
}
