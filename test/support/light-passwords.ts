import { scryptCost } from '../../src/app/accounts/passwords.ts'

// A sign-up hashes for about 150 ms. Tests that make hundreds use scrypt's lowest cost.
Object.assign(scryptCost, { ln: 1, r: 1, p: 1 })
