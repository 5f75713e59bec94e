import { describe, expect, test } from 'vitest'
import { isId, slotOf } from '../../../src/core/ids.ts'
import type { ApiGiven } from '../../support/api-given.ts'
import type { Answer, Browser } from '../../support/http-client.ts'

interface Post {
  id: string
  text: string
  version: number
  createdAt: string
  editedAt: string | null
  author: { id: string; handle: string }
}

type Page = { items: Post[]; next: string | null }

/** Run by test/e2e/api.test.ts. */
export function apiTests({ stack, held, signUp, expectProblem }: ApiGiven): void {
  describe('posts', () => {
    test('a post is published, read, edited and deleted', async () => {
      const client = await signUp()
      const visitor = held(stack().bearer())
      const userPath = `/api/v1/users/${client.user.handle}`
      expect((await visitor.get(userPath)).json()).toMatchObject({ user: { posts: 0 } })
      const text = 'The heron\n\n  stands. שלום 👩‍🚀 "&<>'
      const created = await client.post('/api/v1/posts', { text })
      expect(created.status).toBe(201)
      expect(created.headers.get('x-causal-token')).not.toBeNull()
      const { post } = created.json<{ post: Post }>()
      expect(post).toMatchObject({ text, version: 1, editedAt: null, media: [], author: { id: client.user.id } })
      expect(isId(post.id) && slotOf(post.id) === slotOf(client.user.id)).toBe(true)
      expect((await visitor.get(`/api/v1/posts/${post.id}`)).json()).toEqual({ post })
      expect((await visitor.get(userPath)).json()).toMatchObject({ user: { posts: 1 } })

      const edited = await client.request('PATCH', `/api/v1/posts/${post.id}`, { json: { text: 'It flew.' } })
      expect(edited.json()).toMatchObject({
        post: { id: post.id, text: 'It flew.', version: 2, createdAt: post.createdAt },
      })
      expect(edited.json<{ post: Post }>().post.editedAt).not.toBeNull()
      expect((await visitor.get(`/api/v1/posts/${post.id}`)).json()).toEqual(edited.json())

      expect((await client.request('DELETE', `/api/v1/posts/${post.id}`)).status).toBe(204)
      expectProblem(await visitor.get(`/api/v1/posts/${post.id}`), 404, 'NOT_FOUND')
      expectProblem(await client.request('DELETE', `/api/v1/posts/${post.id}`), 404, 'NOT_FOUND')
      expectProblem(
        await client.request('PATCH', `/api/v1/posts/${post.id}`, { json: { text: 'Back.' } }),
        404,
        'NOT_FOUND',
      )
    })

    test('with an Idempotency-Key, three requests, two of them concurrent, create one post', async () => {
      const client = await signUp()
      const headers = { 'idempotency-key': 'post-once' }
      const publish = () => client.post('/api/v1/posts', { text: 'Once.' }, { headers })
      const answers = [...(await Promise.all([publish(), publish()])), await publish()]
      expect(answers.map(({ status }) => status)).toEqual([201, 201, 201])
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
      // The client whose first answer was lost never had this one.
      for (const { headers } of answers) expect(headers.get('x-causal-token')).not.toBeNull()
      expect((await client.get(`/api/v1/users/${client.user.handle}/posts`)).json<Page>().items).toHaveLength(1)
      const other = await client.post('/api/v1/posts', { text: 'Twice.' }, { headers })
      expectProblem(other, 422, 'IDEMPOTENCY_KEY_REUSED')
      // Each user has separate keys.
      expect((await (await signUp()).post('/api/v1/posts', { text: 'Mine.' }, { headers })).status).toBe(201)
    })

    test('a cursor visits all of 45 posts exactly once, newest first', async () => {
      const client = await signUp()
      const written: string[] = []
      for (let number = 1; number <= 45; number++)
        written.unshift((await client.post('/api/v1/posts', { text: `Post ${number}` })).json<{ post: Post }>().post.id)
      const visitor = held(stack().bearer())
      const path = `/api/v1/users/${client.user.handle}/posts`
      const pages: Page[] = []
      for (let next: string | null = ''; next !== null; next = pages.at(-1)!.next)
        pages.push((await visitor.get(`${path}?limit=20${next && `&cursor=${next}`}`)).json())
      expect(pages.map(({ items }) => items.length)).toEqual([20, 20, 5])
      expect(pages.flatMap(({ items }) => items.map(({ id }) => id))).toEqual(written)
      expect((await visitor.get(path)).json<Page>().items).toHaveLength(20)
      const all = (await visitor.get(`${path}?limit=100`)).json<Page>()
      expect([all.items.length, all.next]).toEqual([45, null])
      expect((await visitor.get(`${path}?limit=45`)).json<Page>().next).toBeNull()

      const foreign = Buffer.from((await signUp()).user.id).toString('base64url')
      const mangled = [
        foreign,
        `${pages[0]!.next}x`,
        pages[0]!.next!.slice(1),
        'null',
        '%00',
        '%F0%9F%91%A9',
        'a'.repeat(201),
      ]
      for (const query of [
        'limit=0',
        'limit=101',
        'limit=abc',
        'limit=1.5',
        'limit=',
        ...mangled.map((text) => `cursor=${text}`),
      ]) {
        const { errors } = expectProblem(await visitor.get(`${path}?${query}`), 422, 'INVALID')
        expect(errors).toMatchObject([{ pointer: `/${query.split('=')[0]}` }])
      }
    })

    const publish = async (text: string) => {
      const client = await signUp()
      const { post } = (await client.post('/api/v1/posts', { text })).json<{ post: Post }>()
      return { client, post }
    }
    /** The same user with cookies. */
    const browserOf = async ({ user }: { user: { handle: string } }): Promise<Browser> => {
      const browser = stack().browser()
      const login = { login: user.handle, password: 'seven quiet herons' }
      expect((await browser.post('/api/v1/sessions', login)).status).toBe(201)
      return browser
    }
    const expectPage = (answer: Answer, status: number, words: string) => {
      expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'text/html; charset=UTF-8'])
      expect(answer.text).toContain(words)
    }

    test('another user’s post stays unchanged', async () => {
      const { post } = await publish('Hands off.')
      const other = await signUp()
      const path = `/api/v1/posts/${post.id}`
      expectProblem(await other.request('PATCH', path, { json: { text: 'Mine.' } }), 403, 'FORBIDDEN')
      expectProblem(await other.request('DELETE', path), 403, 'FORBIDDEN')
      const stranger = await browserOf(other)
      expectPage(await stranger.get(`/posts/${post.id}/edit`), 403, 'Only its author')
      expectPage(await stranger.submit(`/posts/${post.id}/edit`, { text: 'Mine.' }), 403, 'Only its author')
      expectPage(await stranger.submit(`/posts/${post.id}/delete`, {}), 403, 'Only its author')
      expect((await other.get(path)).json()).toEqual({ post })
    })

    test('an invalid form is shown again with the reason, and nothing is written', async () => {
      const { client, post } = await publish('Hands off.')
      const author = await browserOf(client)
      expectPage(await author.submit('/posts', { text: ' ' }), 422, 'Write something.')
      const tooLong = { text: 'a'.repeat(2_001) }
      expectPage(await author.submit(`/posts/${post.id}/edit`, tooLong), 422, 'at most 2000 characters')
      expectPage(await author.submit('/posts', { text: 'a'.repeat(65_536) }), 413, 'too large')
      expectPage(await stack().browser().submit('/posts', { text: 'Whose?' }), 401, 'Sign in')
      const { items } = (await client.get(`/api/v1/users/${client.user.handle}/posts`)).json<Page>()
      expect(items).toEqual([post])
    })

    test('a text just within the limits is accepted, and returned unchanged', async () => {
      const client = await signUp()
      const visitor = held(stack().bearer())
      const texts = ['.', '👩'.repeat(2_000), ' \u00a0x ', 'a\u0000b', '\u202e\ufeff\u0300', '\\u0000 "\'', '‮']
      for (const [number, text] of texts.entries()) {
        const headers = { 'idempotency-key': `~ ${number}`.padEnd(200, '!') }
        const answer = await client.post('/api/v1/posts', { text }, { headers })
        expect(answer.status, answer.text).toBe(201)
        const { post } = answer.json<{ post: Post }>()
        expect(post.text).toBe(text)
        expect((await visitor.get(`/api/v1/posts/${post.id}`)).json()).toEqual({ post })
      }
    })
  })
}
