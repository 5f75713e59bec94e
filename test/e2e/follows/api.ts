import { describe, expect, test, vi } from 'vitest'
import type { ApiGiven, User } from '../../support/api-given.ts'

type Page = { items: User[]; next: string | null }

/** Run by test/e2e/api.test.ts. */
export function apiTests({ stack, held, signUp, expectProblem }: ApiGiven): void {
  describe('follows', () => {
    test('a user follows and unfollows another; numbers and lists of both show it', async () => {
      const [ada, bob] = [await signUp(), await signUp()]
      const visitor = held(stack().bearer())
      const path = `/api/v1/users/${bob.user.handle}/follow`
      const read = async (user: User, list = '') => (await visitor.get(`/api/v1/users/${user.handle}${list}`)).json()
      const change = (method: string) => ada.request(method, path)
      expect((await change('PUT')).status).toBe(204)
      expect((await change('PUT')).status).toBe(204)
      expect(await read(ada.user)).toMatchObject({ user: { following: 1, followers: 0 } })
      expect(await read(ada.user, '/following')).toMatchObject({ items: [{ id: bob.user.id }], next: null })
      // Others see a profile from the cache, and the job does not empty that.
      const expectFollowers = (followers: number) =>
        vi.waitFor(
          async () => expect((await bob.get('/api/v1/me')).json()).toMatchObject({ user: { followers } }),
          20_000,
        )
      await expectFollowers(1)
      expect(await read(bob.user, '/followers')).toMatchObject({ items: [{ id: ada.user.id }], next: null })
      expect((await change('DELETE')).status).toBe(204)
      expect((await change('DELETE')).status).toBe(204)
      expect(await read(ada.user)).toMatchObject({ user: { following: 0 } })
      await expectFollowers(0)
      expect(await read(bob.user, '/followers')).toEqual({ items: [], next: null })
    })

    test('a user’s own handle, an unknown handle, and a follow without a session are refused', async () => {
      const ada = await signUp()
      const path = (handle: string) => `/api/v1/users/${handle}/follow`
      expectProblem(await ada.request('PUT', path(ada.user.handle)), 422, 'INVALID')
      expectProblem(await ada.request('PUT', path('nobody_at_all')), 404, 'NOT_FOUND')
      expectProblem(await ada.request('PUT', path('no-handle')), 404, 'NOT_FOUND')
      expectProblem(await held(stack().bearer()).request('PUT', path(ada.user.handle)), 401, 'NOT_SIGNED_IN')
    })

    test('a cursor visits each of 7 people once, the latest first, and a mangled one is refused', async () => {
      const ada = await signUp()
      const followed: string[] = []
      for (let n = 0; n < 7; n++) {
        const { user } = await signUp()
        await ada.request('PUT', `/api/v1/users/${user.handle}/follow`)
        followed.unshift(user.handle)
      }
      const visitor = held(stack().bearer())
      const path = `/api/v1/users/${ada.user.handle}/following`
      const pages: Page[] = []
      for (let next: string | null = ''; next !== null; next = pages.at(-1)!.next)
        pages.push((await visitor.get(`${path}?limit=3${next && `&cursor=${next}`}`)).json())
      expect(pages.map(({ items }) => items.length)).toEqual([3, 3, 1])
      expect(pages.flatMap(({ items }) => items.map(({ handle }) => handle))).toEqual(followed)
      for (const cursor of [`${pages[0]!.next}x`, 'null', '%00', 'a'.repeat(201)])
        expectProblem(await visitor.get(`${path}?cursor=${cursor}`), 422, 'INVALID')
    })
  })
}
