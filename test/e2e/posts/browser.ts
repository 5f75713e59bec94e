import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import type { BrowserGiven } from '../../support/browser-given.ts'
import { pathOf } from '../../support/browser-stand.ts'
import { picture } from '../../support/pictures.ts'

export async function publish(page: Page, text: string): Promise<void> {
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

  const file = (name: string) => ({ name, mimeType: 'image/png', buffer: Buffer.from(picture()) })
  const loaded = (page: Page) =>
    page
      .locator('.picture img')
      .evaluateAll((all) => all.map((one) => (one as unknown as { naturalWidth: number }).naturalWidth > 0))

  test('a post with two pictures shows them as soon as they are ready, without a reload', async () => {
    const page = await open()
    await signUp(page, 'pixie')
    await page.getByText('Add pictures').click()
    await page.getByLabel('File').nth(0).setInputFiles(file('one.png'))
    await page.getByText('one.png is uploaded.').waitFor()
    await page.getByRole('button', { name: 'Remove picture' }).click()
    await page.getByLabel('File').nth(0).setInputFiles(file('two.png'))
    await page.getByLabel('File').nth(1).setInputFiles(file('three.png'))
    await page.getByLabel('What does it show?').nth(0).fill('A gradient.')
    await publish(page, 'Two pictures.')
    await page.locator('.picture img').nth(1).waitFor()
    await expect.poll(() => loaded(page)).toEqual([true, true])
    expect(await page.getByAltText('A gradient.').count()).toBe(1)
  })

  test('an upload can be cancelled, and the post is published without it', async () => {
    const page = await open()
    await signUp(page, 'pico')
    await page.route('**/api/v1/media', () => undefined)
    await page.getByText('Add pictures').click()
    await page.getByLabel('File').nth(0).setInputFiles(file('slow.png'))
    await page.getByRole('button', { name: 'Cancel upload' }).click()
    await publish(page, 'No picture.')
    expect(await page.locator('.picture, .picture-note').count()).toBe(0)
  })

  test('pictures are uploaded and shown without scripts', async () => {
    const page = await open({ javaScriptEnabled: false })
    await signUp(page, 'pixel')
    await page.getByText('Add pictures').click()
    await page
      .getByLabel('File')
      .nth(0)
      .setInputFiles({ ...file('one.png'), buffer: Buffer.from('<svg/>') })
    await page.getByLabel('New post').fill('Two pictures.')
    await page.getByRole('button', { name: 'Publish' }).click()
    await page.locator('#picture1-error').waitFor()
    await page.getByLabel('File').nth(0).setInputFiles(file('two.png'))
    await page.getByLabel('File').nth(1).setInputFiles(file('three.png'))
    await page.getByLabel('What does it show?').nth(0).fill('A gradient.')
    await publish(page, 'Two pictures.')
    for (let looks = 0; looks < 50 && (await page.getByText('Reload the page').count()) > 0; looks++) {
      await page.waitForTimeout(200)
      await page.reload()
    }
    expect(await page.locator('.picture img').count()).toBe(2)
    expect(await page.getByAltText('A gradient.').count()).toBe(1)
  })

  test('publishing works with the keyboard alone', async () => {
    const page = await open()
    await signUp(page, 'piet')
    await tabTo(page, 'text')
    await page.keyboard.type('No hands.')
    await page.keyboard.press('Tab') // to the pictures
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
