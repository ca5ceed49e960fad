"""Calls Muster with grpcio and no generated code: messages are bytes."""

import os

import grpc


def field(number, data):
    """A length-delimited field of a message; short ones only."""
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def call(channel, method):
    return channel.unary_unary(
        "/muster.registry.v1.DeviceService/" + method,
        request_serializer=bytes,
        response_deserializer=bytes,
    )


name = os.environ["NAME"]
key = (("authorization", "Bearer " + os.environ["KEY"]),)
with grpc.insecure_channel(os.environ["TARGET"]) as channel:
    device = field(3, name.encode())
    made = call(channel, "CreateDevice")(field(1, device), metadata=key)
    assert device in made, made
    print("created", name)
    # display_name is the fifth field of ListDevicesRequest.
    listed = call(channel, "ListDevices")(field(5, name.encode()), metadata=key)
    assert made in listed, listed
    print("listed", name)
    try:
        call(channel, "ListDevices")(b"")
    except grpc.RpcError as error:
        print("refused", error.code().name)
