import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll } from 'vitest'
import { launchBrowser, openContext, type Person } from './browser.ts'
import type { BrowserGiven } from './browser-given.ts'
import { type Stack, startStack } from './stack.ts'

const PASSWORD = 'seven quiet herons'

export const pathOf = (page: Page) => new URL(page.url()).pathname

/** A signed-in user is redirected. The noun decides where. */
export const hasLeft = (page: Page, path: string) => page.waitForURL((url) => url.pathname !== path)

/** A stack and a browser for the tests of one file. `people` has all opened pages with their consoles' messages. */
export function browserStand(): BrowserGiven & { people: readonly Person[] } {
  let stack: Stack
  let browser: Browser
  const people: Person[] = []

  beforeAll(async () => {
    ;[stack, browser] = await Promise.all([startStack({ vars: { MAIL_PREVIEWS: 'on' } }), launchBrowser()])
  })
  afterAll(async () => {
    await browser?.close()
    await stack?.close()
  })

  async function open(options = {}): Promise<Page> {
    const person = await openContext(browser, stack.url.origin, options)
    people.push(person)
    return person.page
  }

  async function signUp(page: Page, handle: string): Promise<void> {
    await page.goto('/')
    await page.getByRole('link', { name: 'Create your account' }).click()
    await page.getByLabel('E-mail').fill(`${handle}@example.com`)
    await page.getByLabel('Handle').fill(handle)
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByRole('button', { name: 'Create account' }).click()
    await hasLeft(page, '/signup')
  }

  async function logIn(page: Page, login: string): Promise<void> {
    await page.goto('/login')
    await page.getByLabel('E-mail or handle').fill(login)
    await page.getByLabel('Password').fill(PASSWORD)
    await page.getByRole('button', { name: 'Log in' }).click()
    await hasLeft(page, '/login')
  }

  return { stack: () => stack, open, signUp, logIn, tabTo, tooWide, people }
}

/** Presses Tab until the element with this id has the focus. */
async function tabTo(page: Page, id: string): Promise<void> {
  for (let presses = 0; presses < 25; presses++) {
    await page.keyboard.press('Tab')
    if ((await page.evaluate('document.activeElement?.id')) === id) return
  }
  throw new Error(`25 times Tab don't lead to #${id}`)
}

/** Those of these paths whose pages are wider than the window. Without paths, checks the current page. */
async function tooWide(page: Page, paths: string[] = []): Promise<string[]> {
  const found: string[] = []
  for (const path of paths.length > 0 ? paths : [null]) {
    if (path !== null) await page.goto(path)
    const [content, window] = await page.evaluate<[number, number]>(
      '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
    )
    if (content > window) found.push(`${pathOf(page)} is ${content} wide`)
  }
  return found
}
