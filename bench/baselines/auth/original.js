import { createSecretKey, randomBytes } from 'node:crypto'
import cookieParser from 'cookie-parser'
import express from 'express'
import jwt from 'jsonwebtoken'
import { DataTypes, Sequelize } from 'sequelize'

/**
 * The refresh of the design that Sallyport's users come from: Express, jsonwebtoken, and Sequelize, which finds the
 * user, finds the token and updates it. Its secrets are strings, or (KEYS=prepared) keys that were made of them once.
 */
const prepare = process.env.KEYS === 'prepared' ? (secret) => createSecretKey(Buffer.from(secret)) : (secret) => secret
const accessSecret = prepare(randomBytes(48).toString('base64'))
const refreshSecret = prepare(randomBytes(48).toString('base64'))

const database = new Sequelize(process.env.DATABASE_URL, { logging: false, pool: { max: 10 } })
const User = database.define('user', {
  email: { type: DataTypes.STRING, unique: true },
  name: DataTypes.STRING,
  role: DataTypes.STRING,
})
const RefreshToken = database.define('refresh_token', {
  user_id: DataTypes.INTEGER,
  token: { type: DataTypes.TEXT, unique: true },
})

const signAccess = ({ id, role, email }) => jwt.sign({ id, role, email }, accessSecret, { expiresIn: '15m' })
const signRefresh = ({ id }) => jwt.sign({ id, type: 'refresh' }, refreshSecret, { expiresIn: '7d' })

const app = express()
app.use(express.json())
app.use(cookieParser())
app.post('/api/auth/refresh', async (request, response) => {
  const { refreshToken } = request.cookies
  const { id } = jwt.verify(refreshToken, refreshSecret)
  const user = await User.findByPk(id)
  const found = await RefreshToken.findOne({ where: { token: refreshToken, user_id: user.id } })
  if (!found) return response.status(401).json({ error: 'Invalid refresh token' })
  const next = signRefresh(user)
  await found.update({ token: next })
  response.cookie('refreshToken', next, { httpOnly: true, sameSite: 'lax', maxAge: 604_800_000 })
  response.json({ accessToken: signAccess(user), role: user.role })
})

await database.sync({ force: true })
const people = Array.from({ length: Number(process.env.SESSIONS) }, (_, index) => ({
  email: `person${index}@example.com`,
  name: 'Some Person',
  role: 'doctor',
}))
const users = await User.bulkCreate(people)
const tokens = users.map((user) => ({ user_id: user.id, token: signRefresh(user) }))
await RefreshToken.bulkCreate(tokens)
const server = app.listen(0, '127.0.0.1', () =>
  process.send({ port: server.address().port, cookies: tokens.map(({ token }) => `refreshToken=${token}`) }),
)
process.on('disconnect', process.exit)
