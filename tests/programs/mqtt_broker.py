"""An MQTT broker that asks Muster whether its clients are devices, by
configuration only; and clients that try what they may and may not do."""

import asyncio
import os
import socket

from amqtt.broker import Broker
from amqtt.client import MQTTClient
from amqtt.contrib.http import ParamsMode, RequestMethod, ResponseMode
from amqtt.errors import ConnectError
from amqtt.mqtt.constants import QOS_1

host, port = os.environ["TARGET"].rsplit(":", 1)
key, device, other, secret = (os.environ[n] for n in ("KEY", "DEVICE", "OTHER", "SECRET"))

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    listen = free.getsockname()[1]

hooks = {
    "host": host,
    "port": int(port),
    "request_method": RequestMethod.POST,
    "params_mode": ParamsMode.JSON,
    "response_mode": ResponseMode.JSON,
}
CONFIG = {
    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{listen}"}},
    "plugins": {
        "amqtt.contrib.http.UserAuthHttpPlugin": {**hooks, "user_uri": f"/hooks/mosquitto/user?api_key={key}"},
        "amqtt.contrib.http.TopicAuthHttpPlugin": {**hooks, "topic_uri": f"/hooks/mosquitto/acl?api_key={key}"},
    },
}


async def connect(password):
    client = MQTTClient(config={"auto_reconnect": False, "reconnect_retries": 0})
    await client.connect(f"mqtt://{device}:{password}@127.0.0.1:{listen}/")
    return client


async def heard(client, publisher, topic):
    await publisher.publish(topic, b"x", qos=QOS_1)
    try:
        message = await client.deliver_message(timeout_duration=2)
        return message is not None and message.topic == topic
    except asyncio.TimeoutError:
        return False


async def main():
    broker = Broker(CONFIG)
    await broker.start()
    client = await connect(secret)
    print("the device is let in")
    try:
        await connect("wrong-secret-of-it")
        print("a wrong secret is let in")
    except ConnectError:
        print("a wrong secret is not")
    granted = await client.subscribe([(f"devices/{device}/#", QOS_1)])
    own = granted == [QOS_1] and await heard(client, client, f"devices/{device}/up")
    print("its own topic:", "heard" if own else f"refused {granted}")
    granted = await client.subscribe([(f"devices/{other}/up", QOS_1)])
    print("another's topic:", "refused" if granted == [0x80] else f"granted {granted}")
    granted = await client.subscribe([("#", QOS_1)])
    print("all topics:", "refused" if granted == [0x80] else f"granted {granted}")
    await client.disconnect()
    await broker.shutdown()


asyncio.run(main())
