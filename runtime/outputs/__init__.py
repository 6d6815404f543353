"""Telling the world what a model has answered: a queue and a thread for each output, MQTT, webhooks, pictures.

`outputs` calls the other modules. They may import the runtime's modules except `cli`, and no click.
"""
