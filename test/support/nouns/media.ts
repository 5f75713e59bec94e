import type { Owner, TestNoun } from '../nouns.ts'
import { picture } from '../pictures.ts'

interface MediaAnswer {
  media: { id: string; alt: string }
}

const path = ({ created }: Owner) => `/api/v1/media/${created.media}`

/** Pictures in the tests that have one row per route. */
export const noun: TestNoun = {
  async create({ ask }) {
    const { media } = (await ask('POST', '/api/v1/media', picture(30))).json<MediaAnswer>()
    return { media: media.id }
  },
  routes: {
    'POST /api/v1/media': {
      calls: [{ who: 'bearer', d1: 1, kv: 1, why: 'the session’s copy, one batch after the object is stored' }],
      isSignedIn: true,
      file: () => picture(30),
      takesKey: true,
    },
    'GET /api/v1/media/:id': {
      calls: [{ who: 'bearer', d1: 1, kv: 1, why: 'the session’s copy; the id names the slot' }],
      path,
    },
    'PATCH /api/v1/media/:id': {
      calls: [{ who: 'bearer', d1: 1, kv: 1, why: 'the session’s copy, one batch' }],
      isSignedIn: true,
      path,
      body: () => ({ alt: 'A gradient.' }),
      refuses: { alt: ['a\ud800b', 'a'.repeat(1_501), '👩'.repeat(1_501)] },
      readBack: async (owner, { alt }) => [alt, (await owner.ask('GET', path(owner))).json<MediaAnswer>().media.alt],
    },
    'DELETE /api/v1/media/:id': {
      calls: [{ who: 'bearer', d1: 1, kv: 1, why: 'the session’s copy, one batch' }],
      isSignedIn: true,
      path,
      isFinal: true,
    },
    'GET /media/:file': {
      calls: [{ who: 'visitor', d1: 0, kv: 0, why: 'only R2 is asked' }],
      path: ({ created }) => `/media/${created.media}-small.webp`,
      needsJob: true,
    },
  },
}
