import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import type { BrowserGiven } from '../../support/browser-given.ts'

const pathOf = (page: Page) => new URL(page.url()).pathname

async function publish(page: Page, text: string): Promise<void> {
  await page.getByLabel('New post').fill(text)
  await page.getByRole('button', { name: 'Publish' }).click()
  await page.getByRole('list').getByText(text, { exact: true }).waitFor()
}

/** Publishes, edits, deletes and logs out: everything that an author does, with or without scripts. */
async function publishEditAndLeave(page: Page): Promise<void> {
  await publish(page, 'The herons are back.')
  await page.getByRole('article').getByRole('link').first().click()
  await page.getByRole('link', { name: 'Edit', exact: true }).click()
  expect(await page.getByLabel('Text').inputValue()).toBe('The herons are back.')
  await page.getByLabel('Text').fill('The herons are back,\n\nall seven.')
  await page.getByRole('button', { name: 'Save changes' }).click()
  await page.getByText('edited').waitFor()
  expect(await page.locator('.words').textContent()).toBe('The herons are back,\n\nall seven.')
  await page.getByText('Delete…').click()
  await page.getByRole('button', { name: 'Delete this post' }).click()
  await page.getByText('Your first post will appear here').waitFor()
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('link', { name: 'Create your account' }).waitFor()
  await page.goto('/home')
  expect(pathOf(page)).toBe('/login')
}

/** Run by test/e2e/browser.test.ts. */
export function browserTests({ stack, open, signUp, logIn, tabTo, tooWide }: BrowserGiven): void {
  test('an author signs up, publishes, edits, deletes and logs out', async () => {
    const page = await open()
    await signUp(page, 'paul')
    expect(pathOf(page)).toBe('/home')
    await publishEditAndLeave(page)
  })

  test('the same works without scripts', async () => {
    const page = await open({ javaScriptEnabled: false })
    await signUp(page, 'pia')
    await publishEditAndLeave(page)
    await logIn(page, 'pia@example.com')
    await page.getByLabel('New post').fill('a'.repeat(2_001))
    await page.getByRole('button', { name: 'Publish' }).click()
    expect(await page.locator('#text-error').textContent()).toContain('at most 2000 characters')
    expect(await page.getByLabel('New post').inputValue()).toHaveLength(2_001)
  })

  test('a draft is shown on the next page load and in another tab, until it is published', async () => {
    const page = await open()
    await signUp(page, 'dora')
    await page.getByLabel('New post').fill('Half a')
    await page.getByText('Draft saved.').waitFor()
    const other = await page.context().newPage()
    await other.goto(page.url())
    expect(await other.getByLabel('New post').inputValue()).toBe('Half a')
    await page.reload()
    expect(await page.getByLabel('New post').inputValue()).toBe('Half a')
    await publish(page, 'Half a thought.')
    await page.reload()
    expect(await page.getByLabel('New post').inputValue()).toBe('')
  })

  test('a draft whose save is under way when the post is published does not come back', async () => {
    const page = await open()
    await signUp(page, 'dirk')
    const { promise: saving, resolve: reached } = Promise.withResolvers<void>()
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    await page.route('**/home/draft', async (route) => {
      reached()
      await released
      await route.continue()
    })
    await page.getByLabel('New post').fill('All of it.')
    await saving
    await page.getByRole('button', { name: 'Publish' }).click()
    release()
    await page.getByRole('list').getByText('All of it.', { exact: true }).waitFor()
    await page.reload()
    expect(await page.getByLabel('New post').inputValue()).toBe('')
  })

  test('a draft that is too long is reported, and the previous one is kept', async () => {
    const page = await open()
    await signUp(page, 'dana')
    await page.getByLabel('New post').fill('Short.')
    await page.getByText('Draft saved.').waitFor()
    await page.getByLabel('New post').fill('👩'.repeat(1_013))
    await page.getByText('has room for 4,050').waitFor()
    await page.reload()
    expect(await page.getByLabel('New post').inputValue()).toBe('Short.')
  })

  test('a draft whose save gets no answer delays the post by at most 5 s', async () => {
    const page = await open()
    await signUp(page, 'dean')
    const { promise: saving, resolve: reached } = Promise.withResolvers<void>()
    await page.route('**/home/draft', () => reached())
    await page.getByLabel('New post').fill('No answer.')
    await saving
    await page.getByRole('button', { name: 'Publish' }).click()
    await page.getByRole('list').getByText('No answer.', { exact: true }).waitFor()
  })

  test('a draft of a user who has logged out elsewhere says to log in again', async () => {
    const page = await open()
    await signUp(page, 'dora_2')
    const other = await page.context().newPage()
    await other.goto('/home')
    await other.getByRole('button', { name: 'Log out' }).click()
    await other.getByRole('link', { name: 'Create your account' }).waitFor()
    await page.getByLabel('New post').fill('Too late.')
    await page.getByText('log in again').waitFor()
  })

  test('a draft works without scripts, by its button', async () => {
    const page = await open({ javaScriptEnabled: false })
    await signUp(page, 'dina')
    const save = () => page.getByRole('button', { name: 'Save draft' }).click()
    await page.getByLabel('New post').fill('Later.')
    await save()
    expect(pathOf(page)).toBe('/home')
    await page.goto('/settings')
    await page.goto('/home')
    expect(await page.getByLabel('New post').inputValue()).toBe('Later.')
    await page.getByLabel('New post').fill('👩'.repeat(1_013))
    await save()
    expect(await page.locator('#text-error').textContent()).toContain('The previous draft is kept.')
    expect(await page.getByLabel('New post').inputValue()).toBe('👩'.repeat(1_013))
    await page.goto('/home')
    await publish(page, 'Now.')
    await page.goto('/home')
    expect(await page.getByLabel('New post').inputValue()).toBe('')
  })

  test('publishing works with the keyboard alone', async () => {
    const page = await open()
    await signUp(page, 'piet')
    await tabTo(page, 'text')
    await page.keyboard.type('No hands.')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.getByRole('list').getByText('No hands.').waitFor()
  })

  test('no page of posts is wider than a phone', async () => {
    const page = await open({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true })
    const longest = 'p'.repeat(30)
    await signUp(page, longest)
    await publish(page, `${'w'.repeat(300)} https://example.com/${'path/'.repeat(60)}`)
    expect(await tooWide(page, ['/home', `/@${longest}`])).toEqual([])
    await page.getByRole('article').getByRole('link').first().click()
    const post = pathOf(page)
    expect(await tooWide(page, [post, `${post}/edit`])).toEqual([])
  })

  test('older posts are one link away, in order', async () => {
    const page = await open()
    await signUp(page, 'flo')
    const client = stack().bearer()
    await client.post('/api/v1/sessions', { login: 'flo', password: 'seven quiet herons' })
    for (let number = 1; number <= 21; number++) await client.post('/api/v1/posts', { text: `Number ${number}.` })
    for (const path of ['/home', '/@flo']) {
      await page.goto(path)
      expect(await page.locator('.words').first().textContent()).toBe('Number 21.')
      await page.getByRole('link', { name: 'Older posts' }).click()
      await page.getByText('Number 1.', { exact: true }).waitFor()
      expect(await page.locator('.words').allTextContents()).toEqual(['Number 1.'])
      expect(pathOf(page)).toBe(path)
    }
  })
}
